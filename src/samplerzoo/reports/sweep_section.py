"""A sweep: what was searched, the best unsearched sampler and DDIM against NFE."""

from typing import NamedTuple

from markupsafe import Markup

from ..runs.curves import curve_table, curves_of
from .charts import lines_chart
from .comparison import Comparison
from .facts import Facts
from .looks import other_look


class SweepSection(NamedTuple):
    """The table and the chart of a sweep, and what its scores are."""

    what: str
    table: Markup
    chart: Markup


def sweep(facts: Facts, scores: Comparison) -> SweepSection | None:
    """Show a sweep by the metric and in the features that decide; None where there is none."""
    if not facts.swept or scores.better != "smaller":
        return None
    unsearched: dict[int, list[str]] = {}
    for search in facts.searches:
        unsearched.setdefault(search.nfe, []).append(search.config.unsearched)
    space, metric = scores.spaces.all[0], scores.metric
    lines = curves_of(scores.summary, space, facts.searched, unsearched, metric)
    what = f"{metric.upper()} in {space}"
    others = [name for name in lines if name not in facts.searched]
    looks = dict(facts.looks) | {name: other_look(n) for n, name in enumerate(others)}
    found = {
        name: {nfe: point.score for nfe, point in line.items()} for name, line in lines.items()
    }
    table = curve_table(lines, f"{what}, n = {facts.n:,}")
    return SweepSection(
        what, Markup(table.html()), lines_chart(found, looks, f"{what} of a sweep", "sweep")
    )
