"""How far the searched samplers have left the model's marginals (Theorem 1 of the DDSS paper)."""

from collections.abc import Sequence

import numpy as np

from .charts import departure_chart
from .facts import Facts
from .html import Markup, head_row, heading, scroll, table, tag
from .svg import figure, legend, short

_NAMES = {"a": "a − α", "v": "v − σ²"}


def departures_section(facts: Facts) -> Markup:
    """Charts of the mean's and the variance's departure at each NFE, and the greatest."""
    about = (
        "Read as a process, a sampler's state xₙ is distributed as N(aₙ x₀, vₙ I) (Theorem 1 of "
        "Watson et al. 2022). DDIM keeps to what the model was trained on, a = α and v = σ²; a "
        "searched sampler may leave it where that gives better samples. Far from 0, the network "
        "is asked about states unlike those it knows. The last state is the sample: a = 1, v = 0 "
        "for DDIM."
    )
    charts = [
        figure(f"{name}, {nfe} evaluations",
               departure_chart(facts.at(nfe), facts.looks, part, name))
        for part, name in _NAMES.items()
        for nfe in facts.steps
    ]  # fmt: skip
    names = [(sampler, facts.looks[sampler]) for sampler in facts.searched]
    return tag("section", heading(2, "Departure from the marginals", "departure"), tag("p", about),
               legend(names), tag("div", *charts, class_="panels"), _table(facts))  # fmt: skip


def _table(facts: Facts) -> Markup:
    rows = [
        tag("tr", tag("th", sampler, scope="row", class_=facts.looks[sampler]), tag("td", nfe),
            *(tag("td", _greatest(values)) for values in (
                [run.a for run in runs], [run.v for run in runs],
                [run.a[-1:] for run in runs], [run.v[-1:] for run in runs])))
        for (nfe, sampler), runs in facts.groups.items()
    ]  # fmt: skip
    head = head_row("sampler", "NFE", "|a − α|", "|v − σ²|", "|a − 1| at the end", "|v| at the end")
    caption = "The greatest over all states and searches"
    return scroll("Greatest departures", table(caption, head, *rows))


def _greatest(values: Sequence[np.ndarray]) -> str:
    return short(float(f"{max(float(np.max(np.abs(v))) for v in values):.2g}"))
