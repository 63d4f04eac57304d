"""What a report says first: sentences made from scores alone."""

import math

import numpy as np
import pytest

from samplerzoo.reports.comparison import Comparison, Spaces
from samplerzoo.reports.standing import standings
from samplerzoo.reports.verdict import judge, listed
from samplerzoo.runs.rows import Row, summarise

BOTH = Spaces(("unseen",), ("seen",))


def verdict(
    scores: dict, spaces: Spaces = BOTH, metric="fd", better="smaller", searched=("a", "b")
):
    """The verdict on `{(sampler, NFE, features): score of each seed}`."""
    rows = [
        Row(sampler, nfe, space, 100, seed, {metric: float(value)}, f"{sampler}-{seed}")
        for (sampler, nfe, space), values in scores.items()
        for seed, value in enumerate(np.atleast_1d(values))
    ]
    found = Comparison(summarise(rows), spaces, metric, better)
    steps = sorted({nfe for sampler, nfe, _ in scores if sampler in searched})
    return judge(standings(found, searched, steps), found)


def both(sampler: str, unseen, seen, nfe: int = 10) -> dict:
    return {(sampler, nfe, "unseen"): unseen, (sampler, nfe, "seen"): seen}


A, DDIM = [0.20, 0.21, 0.19], [1.60, 1.64, 1.68]
CHANCE = "is not known"
CASES = {
    "clear": (
        both("a", A, [0.6, 0.61, 0.59])
        | both("ddim-quadratic", DDIM, [6, 6.2, 6.1])
        | both("ddim-linear", [1.7, 1.8, 1.75], [6.5, 6.6, 6.4]),
        "a is best at 10 evaluations",
        [
            "In unseen, features that no search saw, a has FD 0.20 ± 0.02 against 1.64 ± 0.10 of "
            "ddim-quadratic, 0.12 of it; smaller is better.",
            "The same holds in seen (searched).",
            "over 3 seeds",
            "do not overlap",
        ],
        ["over-fitting", CHANCE],
    ),
    "one seed": (
        both("a", 0.2, 0.6) | both("ddim-linear", 1.64, 6),
        "a scores best at 10 evaluations",
        ["a has FD 0.20 against 1.64 of ddim-linear", CHANCE, "search with other seeds"],
        ["overlap", "±"],
    ),
    "overlapping": (
        both("a", [1.0, 1.5, 2.0], A) | both("ddim-linear", [1.6, 1.7, 1.8], DDIM),
        "a is ahead, within the noise, at 10 evaluations",
        ["overlap at 10 evaluations: that may be chance"],
        ["do not overlap"],
    ),
    "baseline best everywhere": (
        both("a", DDIM, DDIM) | both("ddim-linear", A, A),
        "ddim-linear is best at 10 evaluations",
        [
            "At 10 evaluations no searched sampler beats ddim-linear: the best of them, a, has FD "
            "1.64 ± 0.10 against 0.20 ± 0.02.",
            "The same holds in seen (searched).",
        ],
        ["over-fitting", "of the better DDIM"],
    ),
    "over-fitted": (
        both("a", DDIM, A) | both("ddim-linear", A, DDIM),
        "ddim-linear is best at 10 evaluations",
        [
            "no searched sampler beats ddim-linear",
            "In seen, searched, a is best at 10 evaluations: a gain in the searched features "
            "alone, which is over-fitting.",
        ],
        ["The same holds"],
    ),
    "two searched, tied": (
        both("a", A, A) | both("b", [0.19, 0.20, 0.23], A) | both("ddim-linear", DDIM, DDIM),
        "a or b is best at 10 evaluations",
        ["The same holds in seen (searched)."],
        ["over-fitting"],
    ),
    "two searched, apart, other order when seen": (
        both("a", A, DDIM)
        | both("b", [0.4, 0.41, 0.39], A)
        | both("ddim-linear", DDIM, [9, 9.1, 9]),
        "a is best at 10 evaluations",
        ["In seen, searched, b is best at 10 evaluations."],
        ["over-fitting", "The same holds"],
    ),
    "several K": (
        both("a", A, A)
        | both("ddim-linear", DDIM, DDIM)
        | both("a", A, A, 5)
        | both("ddim-linear", [0.80, 0.81, 0.79], DDIM, 5),
        "a is best at 5 and 10 evaluations",
        ["the best FD is 0.12 to 0.25 of that of the better DDIM (smaller is better)."],
        ["against"],
    ),
    "another winner at each K": (
        both("a", A, A)
        | both("b", DDIM, DDIM)
        | both("ddim-linear", [9, 9.1, 9], [9, 9.1, 9])
        | both("b", A, A, 5)
        | both("a", DDIM, DDIM, 5)
        | both("ddim-linear", [9, 9, 9.1], [9, 9, 9], 5)
        | both("a", 3, 3, 20)
        | both("ddim-linear", 2, 2, 20),
        "b is best at 5 evaluations; a is best at 10; ddim-linear scores best at 20",
        [
            "In unseen, features that no search saw, at 5 and 10 evaluations, the best FD is "
            "0.02 of",
            "At 20 evaluations no searched sampler beats ddim-linear",
            "one seed and no interval",
        ],
        [],
    ),
    "no DDIM": (
        both("a", A, A) | both("other-linear", DDIM, DDIM),
        "a is best at 10 evaluations",
        ["of other-linear, 0.12 of it"],
        ["DDIM"],
    ),
    "nothing to compare with": (
        both("a", A, A),
        "a scores best at 10 evaluations",
        ["The same holds"],
        ["against", "overlap"],
    ),
    "not finite": (
        both("a", [math.nan] * 3, A) | both("ddim-linear", A, DDIM),
        "ddim-linear scores best at 10 evaluations",
        ["At 10 evaluations no searched sampler has a finite score."],
        ["nan"],
    ),
    "one evaluation": (
        both("a", A, A, 1) | both("ddim-linear", DDIM, DDIM, 1),
        "a is best at 1 evaluation",
        [],
        ["1 evaluations"],
    ),
}


@pytest.mark.parametrize(("scores", "headline", "said", "unsaid"), CASES.values(), ids=CASES.keys())
def test_verdict(scores, headline, said, unsaid):
    found = verdict(scores)
    text = " ".join(found.sentences)
    assert found.headline == headline
    assert all(words in text for words in said), text
    assert not any(words in text for words in unsaid), text


def test_only_searched_features():
    scores = {("a", 10, "seen"): A, ("ddim-linear", 10, "seen"): DDIM}
    found = verdict(scores, Spaces((), ("seen",)))
    text = " ".join(found.sentences)
    assert found.headline == "a is best at 10 evaluations"
    assert text.startswith("In seen, searched, a has FD")
    assert "No features were scored but those that were searched in" in text
    assert "no search saw" not in text


def test_larger_can_be_better():
    found = verdict(both("a", A, A) | both("ddim-linear", DDIM, DDIM), BOTH, "recall", "larger")
    assert found.headline == "ddim-linear is best at 10 evaluations"
    assert "has RECALL 0.20 ± 0.02 against 1.64 ± 0.10" in found.sentences[0]


def test_negative_scores_have_no_ratio():
    scores = both("a", [-0.01, -0.02, -0.015], A) | both("ddim-linear", DDIM, DDIM)
    text = " ".join(verdict(scores, metric="kid").sentences)
    assert "a has KID \N{MINUS SIGN}0.015 ± 0.012 against 1.640 ± 0.099 of ddim-linear;" in text
    assert "of it" not in text


def test_no_finite_score_is_an_error():
    with pytest.raises(ValueError, match="No fd in unseen is finite"):
        verdict(both("a", math.nan, math.nan))


def test_listed():
    assert listed([5]) == "5"
    assert listed([5, 10]) == "5 and 10"
    assert listed("abc", "or") == "a, b or c"


def test_where_fidelity_or_diversity_is_surely_below_the_baseline_is_said():
    """Whole intervals, in each feature space, of the best searched sampler."""
    high, low, wide = [0.9, 0.91, 0.89], [0.5, 0.51, 0.49], [0.2, 0.9, 0.8]
    fd = {"a": A, "ddim-linear": DDIM}
    scored = {
        ("unseen", 5): {"precision": (low, high), "recall": (high, low)},
        ("unseen", 10): {"precision": (low, high), "recall": (wide, high), "coverage": (low, high)},
        ("seen", 5): {"density": (low, high)},
        ("seen", 10): {"density": (high, high)},
    }

    def said(scored: dict) -> str:
        rows = [
            Row(
                name,
                nfe,
                space,
                100,
                seed,
                {"fd": fd[name][seed]}
                | {column: pair[n][seed] for column, pair in columns.items()},
                f"{name}-{seed}",
            )
            for (space, nfe), columns in scored.items()
            for n, name in enumerate(fd)
            for seed in range(3)
        ]
        found = Comparison(summarise(rows), BOTH, "fd", "smaller")
        return " ".join(judge(standings(found, ["a"], [5, 10]), found).sentences)

    assert (
        "In unseen, 95% intervals of the best searched sampler lie below the better DDIM's: "
        "precision at 5 and 10 evaluations; coverage at 10 evaluations (there are such in seen "
        "too)."
    ) in said(scored)
    good = {where: {"recall": (high, low), "coverage": (wide, high)} for where in scored}
    assert (
        "No 95% interval of the best searched sampler's recall or coverage lies below the better "
        "DDIM's."
    ) in said(good)
    assert "below" not in said({where: {} for where in scored})
