"""All scores, one table a feature space."""

import math
from collections.abc import Mapping

from ..metrics import Interval, decimals
from .comparison import Comparison, text
from .facts import Facts
from .html import Markup, head_row, scroll, tag
from .verdict import listed

_ARROWS = {"smaller": " ↓", "larger": " ↑", "neither": ""}
_Columns = Mapping[str, Interval]


def score_table(facts: Facts, scores: Comparison, space: str) -> Markup:
    """Every metric of every sampler in a feature space, by NFE and then by the deciding metric."""
    found = {(s, k): c for (s, k, features), c in scores.summary.items() if features == space}
    ways = {name: facts.better.get(name, "neither") for c in found.values() for name in c}
    digits = {name: decimals(c[name].value for c in found.values() if name in c) for name in ways}
    bodies = []
    for nfe in sorted({k for _, k in found}):
        lines = {s: columns for (s, k), columns in found.items() if k == nfe}
        best = {name: _best(lines, name, way) for name, way in ways.items()}
        order = [name for name, _ in scores.ranked(nfe, space)]
        rows = [tag("tr", tag("th", f"NFE {nfe}", colspan=2 + len(ways), scope="rowgroup"))]
        for sampler in dict.fromkeys([*order, *lines]):
            cells = [
                tag("td", text(lines[sampler][name], digits[name]),
                    class_="best" if sampler in best[name] else None)
                if name in lines[sampler] else tag("td", "–")
                for name in ways
            ]  # fmt: skip
            name = tag("th", sampler, scope="row", class_=facts.looks[sampler])
            rows.append(tag("tr", name, *cells, tag("td", _over(facts, sampler, nfe, space))))
        bodies.append(tag("tbody", *rows))
    heads = [name.upper().replace("_", " ") + _ARROWS[way] for name, way in ways.items()]
    caption = tag("caption", tag("b", space), f" ({_role(facts, scores, space)})")
    head = tag("thead", head_row("sampler", *heads, "over"))
    return scroll(f"Scores in {space}", tag("table", caption, head, *bodies))


def _role(facts: Facts, scores: Comparison, space: str) -> str:
    """Whether a space was searched in, and by which samplers where not by all."""
    by = [name for name, seen in facts.searched.items() if space in seen]
    return f"searched by {listed(by)}" if 0 < len(by) < len(facts.searched) else scores.role(space)


def _best(lines: Mapping[str, _Columns], name: str, way: str) -> set[str]:
    """The samplers whose mean is the best of a column."""
    means = {
        s: c[name].value for s, c in lines.items() if name in c and math.isfinite(c[name].value)
    }
    if way == "neither" or len(means) < 2:
        return set()
    top = (min if way == "smaller" else max)(means.values())
    return {s for s, mean in means.items() if mean == top}


def _over(facts: Facts, sampler: str, nfe: int, space: str) -> str:
    """What a score is the mean of."""
    rows = [r for r in facts.rows if (r.sampler, r.nfe, r.features) == (sampler, nfe, space)]
    runs, seeds = {r.run for r in rows}, {r.seed for r in rows}
    if len(runs) > 1:
        return f"{len(runs)} searches"
    return f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {min(seeds)}"
