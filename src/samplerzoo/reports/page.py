"""The page: facts in, one HTML file out, which needs nothing else."""

import numpy as np

from .answer import answer_section
from .charts import search_chart, times_chart
from .coefficients import coefficients_section
from .comparison import Comparison
from .cost import cost_section
from .departures import departures_section
from .facts import Facts
from .html import Markup, heading, scroll, style, tag
from .provenance import provenance_section
from .samples import samples_section
from .score_chart import score_chart
from .standing import standings
from .style import SHEET
from .svg import figure, legend
from .tables import score_table
from .verdict import judge, listed

_CONTENTS = {"samples": "Samples", "scores": "Scores", "searches": "Searches",
             "coefficients": "Coefficients", "departure": "Departure", "cost": "Cost",
             "provenance": "Provenance"}  # fmt: skip


def page(facts: Facts) -> str:
    """The report as HTML: the answer first, then what it rests on.

    Raises ValueError where no score can be compared.
    """
    scores = Comparison.of(facts)
    order = standings(scores, facts.searched, facts.steps)
    verdict = judge(order, scores)
    links = [tag("a", name, href=f"#{id_}") for id_, name in _CONTENTS.items()]
    body = tag(
        "main",
        answer_section(facts, verdict, order, scores),
        tag("nav", *links, aria_label="Contents"),
        samples_section(facts, scores),
        _scores_section(facts, scores),
        _searches_section(facts),
        coefficients_section(facts.runs, _times(facts)),
        departures_section(facts),
        cost_section(facts),
        provenance_section(facts),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{verdict.headline} · {facts.model}"),
        style(SHEET),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", body), lang="en") + "\n"


def _scores_section(facts: Facts, scores: Comparison) -> Markup:
    spaces = scores.spaces.all
    charts = [
        figure(f"{scores.metric.upper()} in {space}, {scores.role(space)}", chart)
        for space in spaces
        if (chart := score_chart(facts, scores, space))
    ]
    seeds = listed(sorted({row.seed for row in facts.rows}))
    about = (
        f"n = {facts.n:,} samples a score, seeds {seeds}. Points are means, bars their 95% "
        "intervals; searched samplers are in colour. Arrows in the tables point to the better "
        "side; ± is half the 95% interval."
    )
    return tag(
        "section",
        heading(2, "Scores", "scores"),
        tag("p", about),
        tag("div", *charts, class_="panels"),
        heading(3, "All scores"),
        tag("div", *(score_table(facts, scores, space) for space in spaces), class_="pair"),
    )


def _searches_section(facts: Facts) -> Markup:
    charts = [
        figure(f"{nfe} evaluations", chart)
        for nfe in facts.steps
        if (chart := search_chart(facts.at(nfe), facts.looks))
    ]
    about = (
        "The KID that each search minimised, in the searched features: the mean of neighbouring "
        "steps, a line a search."
    )
    if lacking := [run.name for run in facts.runs if not run.kids]:
        about += f" There is no log of {listed(lacking)}."
    names = [(sampler, facts.looks[sampler]) for sampler in facts.searched]
    return tag("section", heading(2, "Searches", "searches"), tag("p", about), legend(names),
               tag("div", *charts, class_="panels"))  # fmt: skip


def _times(facts: Facts) -> list[Markup]:
    """At each K the times of every search beside the two strides of the baselines."""
    charts = []
    for nfe in facts.steps:
        runs = facts.at(nfe)
        steps = runs[0].table.nfe
        share = 1 - np.arange(steps) / steps
        rows = [(name, list(facts.t_max * share**power), "b0")
                for name, power in (("linear", 1), ("quadratic", 2))]  # fmt: skip
        rows += [
            (f"{run.sampler}, seed {run.config.seed}", np.asarray(run.table.times).tolist(),
             facts.looks[run.sampler]) for run in runs
        ]  # fmt: skip
        chart = times_chart(rows, facts.t_max, steps)
        charts.append(figure(f"{nfe} evaluations: the times t asked for, from noise to data",
                             scroll(f"Times at {nfe} evaluations", chart)))  # fmt: skip
    return charts
