"""The page: facts in, one HTML file out, which needs nothing else."""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..runs.objectives import minimised
from .answer_section import answer
from .charts import score_chart, search_chart, swatch
from .coefficients_section import coefficients
from .comparison import Comparison
from .cost_section import cost
from .departures_section import departures
from .facts import Facts, Search
from .looks import SHEET
from .provenance_section import provenance
from .samples_section import samples
from .standing import Standings
from .svg import draw_plainly
from .sweep_section import sweep
from .tables import score_table
from .verdict import Verdict, listed

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # categories of characters that show nothing themselves


def page(facts: Facts, scores: Comparison, order: Standings, verdict: Verdict) -> str:
    """Write the report as HTML: the answer first, then what it rests on.

    Args:
        facts: What the report is made of.
        scores: Its scores, compared.
        order: The order of the samplers by them.
        verdict: What they say.

    Returns:
        The text of a page, the same for the same facts. Whatever a name holds, it is text there.
    """
    spaces = scores.spaces.all
    with draw_plainly():
        content = {
            "facts": facts,
            "scores": scores,
            "sheet": Markup(SHEET),
            "verdict": verdict,
            "answer": answer(facts, order, scores),
            "sweep": sweep(facts, scores),
            "samples": samples(facts, scores),
            "seeds": listed(sorted({row.seed for row in facts.rows})),
            "score_charts": {
                space: chart
                for n, space in enumerate(spaces)
                if (chart := score_chart(facts, scores, space, f"scores-{n}"))
            },
            "score_tables": [score_table(facts, scores, space) for space in spaces],
            "search_charts": {
                nfe: chart
                for nfe in facts.steps
                if (chart := search_chart(facts.at(nfe), facts.looks, f"search-{nfe}"))
            },
            "minimised": listed(_minimised(facts.searches)),
            "no_logs": listed(name) if (name := _no_logs(facts)) else "",
            "coefficients": coefficients(facts),
            "departures": departures(facts),
            "cost": cost(facts),
            "provenance": provenance(facts),
            "swatches": {
                name: swatch(look, f"swatch-{n}", marked=True)
                for n, (name, look) in enumerate(facts.looks.items())
            },
            "lines": {
                name: swatch(facts.looks[name], "line", marked=False) for name in facts.searched
            },
        }
        return render("page.html", content)


def _minimised(searches: Sequence[Search]) -> list[str]:
    """What the searches minimised, in words, each once."""
    configs = [search.config for search in searches]
    return list(dict.fromkeys(minimised(one.objective, one.features) for one in configs))


def _no_logs(facts: Facts) -> list[str]:
    return [search.name for search in facts.searches if not search.kids]


def render(name: str, content: Mapping[str, Any]) -> str:
    """Write a page by its template. Whatever a name in the content holds, it is text there."""
    return _environment().get_template(name).render(content)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("samplerzoo.reports", "templates"),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def visible(value: Any) -> Any:
    """Show characters that hide or turn text as what they are: replaced.

    Names come from others: a mark that turns the direction of writing could make one look like
    another.
    """
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if c != "\n" and unicodedata.category(c) in _HIDDEN else c
        for c in value
    )
