"""The first screen: the question, the answer, and the numbers it rests on."""

from collections.abc import Sequence

from ..metrics import decimals
from .comparison import Comparison, text
from .facts import Facts
from .html import Markup, join, scroll, table, tag
from .standing import Standing, Standings, is_ddim
from .verdict import Verdict, listed


def answer_section(facts: Facts, verdict: Verdict, order: Standings, scores: Comparison) -> Markup:
    """What a reader who stops here takes away."""
    seeds = len({row.seed for row in facts.rows})
    question = (
        f"Which sampler draws best from the model {facts.model} with "
        f"{listed(facts.steps, 'or')} network evaluations a sample?"
    )
    about = (
        f"{scores.metric.upper()}, {scores.better} is better; n = {facts.n:,}; "
        f"{seeds} seed{'s' if seeds > 1 else ''}; {len(facts.runs)} "
        f"search{'es' if len(facts.runs) > 1 else ''}"
    )
    return tag(
        "header",
        tag("p", question, class_="question"),
        tag("h1", verdict.headline),
        tag("p", " ".join(verdict.sentences), class_="lead"),
        scroll("The answer in numbers", _table(facts, order, scores)),
        tag("p", about, class_="note"),
        id_="answer",
    )


def _table(facts: Facts, order: Standings, scores: Comparison) -> Markup:
    """At each NFE the best sampler and its score beside DDIM's, in each feature space."""
    spaces = scores.spaces.all
    spans = [
        tag("th", f"{space} · {scores.role(space)}", colspan=4, scope="colgroup")
        for space in spaces
    ]
    baselines = [s.baseline[0] for s in order[spaces[0]] if s.baseline]
    against = "DDIM" if all(map(is_ddim, baselines)) else "baseline"
    names = [
        tag("th", "best", scope="col", class_="sampler"),
        *(tag("th", name, scope="col") for name in (scores.metric.upper(), against, "ratio")),
    ]
    head = join(
        tag("tr", tag("th", "NFE", scope="col", rowspan=2), *spans),
        tag("tr", *names * len(spaces)),
    )
    found = {(s.nfe, space): s for space in spaces for s in order[space]}
    rows = [
        tag("tr", tag("th", nfe, scope="row"),
            *(cell for space in spaces
              for cell in _cells(facts, found.get((nfe, space)), order[space])))
        for nfe in sorted({nfe for nfe, _ in found})
    ]  # fmt: skip
    caption = (
        "The best sampler at each number of network evaluations (NFE), beside the better of DDIM's "
        "strides or, without DDIM, the best baseline"
    )
    return table(tag("span", caption, class_="hidden"), head, *rows, class_="answer")


def _cells(facts: Facts, standing: Standing | None, column: Sequence[Standing]) -> list[Markup]:
    if standing is None:
        return [tag("td", "–")] * 4
    digits = decimals(s.best[1].value for s in column)
    (best, score), against, ratio = standing.best, standing.baseline, standing.ratio
    return [
        tag("td", tag("b", best, class_=facts.looks[best]), class_="sampler"),
        tag("td", text(score, digits)),
        tag("td", text(against[1], digits) if against else "–"),
        tag("td", f"{ratio:.2f}" if ratio is not None else "–"),
    ]
