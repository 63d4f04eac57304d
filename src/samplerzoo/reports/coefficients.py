"""The tables of numbers that samplers are, against DDIM's at the same times."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from .facts import Search
from .html import Markup, head_row, heading, scroll, table, tag

_SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)  # of DDIM's greatest coefficient: where shades change


def coefficients_section(runs: Sequence[Search], charts: Sequence[Markup]) -> Markup:
    """When each sampler asks the network, and what it makes of the answers."""
    about = (
        "A sampler is a table: evaluation n asks the network at time t and adds x0 times one "
        "coefficient, eps times another and fresh noise to the next state, and x0 and eps to later "
        "states where it reaches so far. DDIM at the same times reaches the next state only; Δ is "
        "the difference to it."
    )
    key = tag(
        "p", "Difference to DDIM: ", *(tag("span", word, class_=f"key {look}") for word, look in (
            ("much less", "m5"), ("less", "m3"), ("the same", "z"), ("more", "p3"),
            ("much more", "p5"))), class_="legend",
    )  # fmt: skip
    details = [
        tag("details", tag("summary", f"{run.sampler}, NFE {run.nfe}, seed {run.config.seed}"),
            *_tables(run), open="" if n == 0 else None)
        for n, run in enumerate(runs)
    ]  # fmt: skip
    return tag("section", heading(2, "The samplers as numbers", "coefficients"), tag("p", about),
               heading(3, "Times"), *charts, heading(3, "Coefficients"), key, *details)  # fmt: skip


def _tables(run: Search) -> list[Markup]:
    what = f"{run.sampler}, NFE {run.nfe}, seed {run.config.seed}"
    parts = [scroll(f"Steps of {what}", step_table(run))]
    if run.table.depth > 1:
        pictures = [
            scroll(f"Coefficients of {name} in {what}", reach_table(name, coefficients, ddim))
            for name, coefficients, ddim in _kinds(run)
        ]
        parts.append(tag("div", *pictures, class_="pair"))
    return parts


def _kinds(run: Search) -> list[tuple[str, np.ndarray, np.ndarray]]:
    return [("x0", np.asarray(run.table.clean, np.float64), run.clean),
            ("eps", np.asarray(run.table.noise, np.float64), run.noise)]  # fmt: skip


def step_table(run: Search) -> Markup:
    """A row for each evaluation: its time, its coefficients for the next state, DDIM's, noise."""
    kinds = [(c[:, 0], ddim) for _, c, ddim in _kinds(run)]
    fresh, times = (np.asarray(x, np.float64) for x in (run.table.fresh, run.table.times))
    levels = [max(float(np.max(np.abs(ddim))), 1e-12) for _, ddim in kinds]
    rows = [
        tag("tr", tag("th", n, scope="row"), tag("td", f"{times[n]:.4g}"),
            *(cell for (own, ddim), level in zip(kinds, levels, strict=True)
              for cell in (tag("td", _number(own[n], 3)), tag("td", _number(ddim[n], 3)),
                           shaded(own[n] - ddim[n], level, 3))),
            shaded(abs(fresh[n]), levels[1], 3))
        for n in range(len(times))
    ]  # fmt: skip
    columns = [f"{part}{kind}" for kind in ("x0", "eps") for part in ("", "DDIM ", "Δ ")]
    return table("Each evaluation's part in the next state", head_row("n", "t", *columns, "noise"),
                 *rows, class_="numbers")  # fmt: skip


def reach_table(
    name: str, coefficients: Float[np.ndarray, "K depth"], ddim: Float[np.ndarray, "K"]
) -> Markup:
    """Differences to DDIM, a row for each state that is made, a column for each evaluation."""
    steps, depth = coefficients.shape
    coefficients = np.asarray(coefficients, np.float64)
    level = max(float(np.max(np.abs(ddim))), 1e-12)
    rows = []
    for m in range(steps):
        own = [coefficients[n, m - n] - (ddim[n] if n == m else 0) if 0 <= m - n < depth else None
               for n in range(steps)]  # fmt: skip
        cells = [tag("td") if x is None else shaded(x, level, 2) for x in own]
        rows.append(tag("tr", tag("th", f"x{m + 1}", scope="row"), *cells))
    return table(f"Δ {name}: states down, evaluations across",
                 head_row("", *map(str, range(steps))), *rows, class_="numbers reach")  # fmt: skip


def shaded(x: float, level: float, digits: int) -> Markup:
    """A difference as a cell, the darker the greater it is beside `level`."""
    shade = sum(abs(x) >= share * level * 0.999 for share in _SHARES)
    look = "z" if not shade else f"{'p' if x > 0 else 'm'}{shade}"
    return tag("td", _number(x, digits), class_=look)


def _number(x: float, digits: int) -> str:
    text = f"{x:.{digits}f}"
    return "0" if not float(text) else text.replace("-", "\N{MINUS SIGN}")
