"""Which sampler is best, by how much, and whether that holds: in sentences made from the scores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..metrics import Interval, decimals
from .comparison import FIDELITY_AND_DIVERSITY, Comparison, text
from .standing import Standing, Standings, is_ddim


@dataclass(frozen=True)
class Verdict:
    """The answer: a headline, and the sentences that qualify it."""

    headline: str
    sentences: tuple[str, ...]


def judge(standings: Standings, scores: Comparison) -> Verdict:
    """The verdict on one metric, in the first feature space that no search saw if there is one.

    Raises ValueError where no score in that space is finite.
    """
    space = scores.spaces.all[0]
    found = standings[space]
    if not found:
        raise ValueError(f"No {scores.metric} in {space} is finite: there is nothing to report.")
    sentences = (
        _how_much(found, scores),
        *(_lost(s, scores.metric) for s in found if not s.won),
        _elsewhere(standings, scores),
        _worse(standings, scores),
        _certainty(found),
    )
    return Verdict(_headline(found), tuple(s for s in sentences if s))


def listed(words: Iterable[object], last: str = "and") -> str:
    """`a, b and c`."""
    *most, end = map(str, words)
    return f"{', '.join(most)} {last} {end}" if most else end


def at(found: Sequence[Standing]) -> str:
    """`5 and 10 evaluations`."""
    return _evaluations([s.nfe for s in found])


def _evaluations(steps: Sequence[int]) -> str:
    return listed(steps) + (" evaluation" if list(steps) == [1] else " evaluations")


def _headline(found: Sequence[Standing]) -> str:
    """Who is best where, with what is sure apart from what is not."""
    how = {True: "is best at", None: "scores best at", False: "is ahead, within the noise, at"}
    groups: dict[tuple[str, str], list[int]] = {}
    for s in found:
        groups.setdefault((listed(s.named, "or"), how[s.clear]), []).append(s.nfe)
    (first, verb), steps = next(iter(groups.items()))
    rest = [f"{name} {verb} {listed(k)}" for (name, verb), k in list(groups.items())[1:]]
    return "; ".join([f"{first} {verb} {_evaluations(steps)}", *rest])


def _how_much(found: Sequence[Standing], scores: Comparison) -> str:
    """The winners' scores beside the best baselines' and DDIM's, where searched samplers win."""
    space, metric, better = scores.spaces.all[0], scores.metric, scores.better
    where = f"In {space}, " + (
        "features that no search saw" if scores.spaces.unseen else "searched"
    )
    won = [s for s in found if s.won and s.baseline]
    if not won:
        return ""
    if len(won) < len(found):
        where += f", at {at(won)}"
    shares = [s.ratio for s in won if s.ratio is not None]
    against = _rivals(won)
    if len(won) == 1:
        return f"{where}, {_one(won[0], metric)}; {better} is better."
    if len(shares) < len(won):
        return f"{where}, the best {metric.upper()} is better than that of {against}."
    return (
        f"{where}, the best {metric.upper()} is {_span(shares)} of that of {against}"
        f"{_beside_ddim(won)} ({better} is better)."
    )


def _span(shares: Sequence[float]) -> str:
    """`0.12` or `0.12 to 0.25`."""
    low, high = f"{min(shares):.2f}", f"{max(shares):.2f}"
    return low if low == high else f"{low} to {high}"


def _beside_ddim(found: Sequence[Standing]) -> str:
    """What share of DDIM's the scores are, where it is not the best baseline everywhere."""
    shares = [s.ddim_ratio for s in found if s.ddim_ratio is not None]
    return f" and {_span(shares)} of that of the better DDIM" if shares else ""


def _one(standing: Standing, metric: str) -> str:
    assert standing.baseline
    (ours, score), (its, other) = standing.best, standing.baseline
    digits = decimals([score.value, other.value])
    share = "" if standing.ratio is None else f", {standing.ratio:.2f} of it"
    return (
        f"{ours} has {metric.upper()} {text(score, digits)} against {text(other, digits)} of "
        f"{its}{share}{_beside_ddim([standing])}"
    )


def _lost(standing: Standing, metric: str) -> str:
    """That no searched sampler is best at a number of evaluations."""
    steps = _evaluations([standing.nfe])
    if standing.rival is None:
        return f"At {steps} no searched sampler has a finite score."
    (name, score), (best, least) = standing.rival, standing.best
    digits = decimals([score.value, least.value])
    return (
        f"At {steps} no searched sampler beats {best}: the best of them, {name}, has "
        f"{metric.upper()} {text(score, digits)} against {text(least, digits)}."
    )


def _elsewhere(standings: Standings, scores: Comparison) -> str:
    """Whether the same samplers win in the other feature spaces."""
    main, *rest = scores.spaces.all
    if not scores.spaces.unseen:
        return (
            "No features were scored but those that were searched in, so this may be over-fitting: "
            "`samplerzoo evaluate --features` scores in others."
        )
    winners = {s.nfe: s for s in standings[main]}
    alike, sentences = [], []
    for space in rest:
        role = scores.role(space)
        changed = [
            s for s in standings[space] if s.nfe in winners and not _agree(s, winners[s.nfe])
        ]
        if not changed and standings[space]:
            alike.append(f"{space} ({role})")
        over = [s for s in changed if s.won and not winners[s.nfe].won and role == "searched"]
        if over:
            sentences.append(
                f"In {space}, searched, {listed(dict.fromkeys(s.best[0] for s in over))} is best "
                f"at {at(over)}: a gain in the searched features alone, which is over-fitting."
            )
        others = [s for s in changed if s not in over]
        sentences += [f"In {space}, {role}, {s.best[0]} is best at {at([s])}." for s in others]
    if alike:
        sentences.insert(0, f"The same holds in {listed(alike)}.")
    return " ".join(sentences)


def _worse(standings: Standings, scores: Comparison) -> str:
    """Where fidelity or diversity is surely below the baseline's: whole intervals are."""
    against = _rivals(s for found in standings.values() for s in found if s.baseline)
    compared: dict[str, None] = {}
    below: dict[str, dict[tuple[int, ...], list[str]]] = {}
    for space in scores.spaces.all:
        for column in FIDELITY_AND_DIVERSITY:
            pairs = _pairs(standings[space], scores, space, column)
            steps = tuple(nfe for nfe, (ours, its) in pairs.items() if ours.below(its))
            if pairs:
                compared[column] = None
            if steps:
                below.setdefault(space, {}).setdefault(steps, []).append(column)
    if not compared:
        return ""
    if not below:
        names = listed(compared, "or")
        return f"No 95% interval of the best searched sampler's {names} lies below {against}'s."
    (space, found), *others = below.items()
    parts = [f"{listed(columns)} at {_evaluations(steps)}" for steps, columns in found.items()]
    also = f" (there are such in {listed(name for name, _ in others)} too)" if others else ""
    return (
        f"In {space}, 95% intervals of the best searched sampler lie below {against}'s: "
        f"{'; '.join(parts)}{also}."
    )


def _pairs(
    found: Sequence[Standing], scores: Comparison, space: str, column: str
) -> dict[int, tuple[Interval, Interval]]:
    """A column's intervals of the best searched sampler and of the baseline at each NFE."""
    pairs = {}
    for standing in found:
        if standing.searcher and standing.baseline:
            names = standing.searcher, standing.baseline[0]
            ours, its = (scores.summary[s, standing.nfe, space].get(column) for s in names)
            if ours and its and ours.apart(its) is not None:
                pairs[standing.nfe] = (ours, its)
    return pairs


def _rivals(found: Iterable[Standing]) -> str:
    """What baselines are called together."""
    ddim = all(s.baseline and is_ddim(s.baseline[0]) for s in found)
    return "the better DDIM" if ddim else "the best baseline"


def _agree(one: Standing, other: Standing) -> bool:
    """Whether two standings may have the same winner."""
    return one.best[0] in other.tied or other.best[0] in one.tied


def _certainty(found: Sequence[Standing]) -> str:
    """What the intervals say of the searched samplers against the baselines."""
    compared = [s for s in found if s.rival]
    if not compared:
        return ""
    if all(s.clear is None for s in compared):
        return (
            "One seed gives no interval, so how much of a difference is chance is not known: "
            "search with other seeds too."
        )
    counts = {score.count for s in compared for _, score in s.order if score.count > 1}
    over = f"The 95% intervals over {listed(sorted(counts), 'or')} seeds"
    pair = "of the best searched sampler and the best baseline"
    if overlap := [s for s in compared if s.clear is False]:
        return f"{over} {pair} overlap at {at(overlap)}: that may be chance."
    lone = [s for s in compared if s.clear is None]
    but = f"; at {at(lone)} there is one seed and no interval" if lone else ""
    return f"{over} {pair} do not overlap{but}."
