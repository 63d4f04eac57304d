"""A sweep: searches of one family at several numbers of steps, and what they say together."""

import base64
import dataclasses
import html
from collections.abc import Mapping
from functools import cached_property, singledispatch
from pathlib import Path
from typing import Any

from ..files import write, write_json
from ..tables import Table
from ..wording import printable
from .curves import Curves, curve_table, curves_of
from .names import label_of
from .rows import summarise
from .run import Run
from .store import is_sweep, load_sweep, run_folder, run_name

RESULT = "sweep.json"
PICTURES = ("fd.png", "fd.svg")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """Hold the runs of a sweep. In a notebook it shows its table and its picture.

    Attributes:
        runs: The runs by their number of steps.
        path: The sweep's folder; None of a sweep in memory.
    """

    runs: Mapping[int, Run]
    path: Path | None = None

    @cached_property
    def curves(self) -> Curves:
        """Return the FD in the report's features by NFE: searched, best unsearched, DDIM.

        Raises:
            ValueError: A run is not finished, or its result is damaged.
        """
        results = [run.checked_result for run in self.runs.values()]
        rows = [row for run in self.runs.values() for row in run.scores.rows]
        unsearched = {result["nfe"]: [result["unsearched"]] for result in results}
        return curves_of(summarise(rows), self._space, [results[0]["sampler"]], unsearched)

    @property
    def table(self) -> Table:
        """Return a line for each NFE: FDs, what each search started from, and its steps.

        Raises:
            ValueError: A run is not finished, or its result is damaged.
        """
        starts, steps = {}, {}
        for run in self.runs.values():
            result = run.checked_result
            warm = result.get("warm_start") or {}
            own = result.get("start") or "its own"
            starts[result["nfe"]] = warm["neighbour"] if warm.get("taken") else own
            steps[result["nfe"]] = f"{len(run.log)} of {run.config.iterations}"
        return curve_table(self.curves, self._about, {"start": starts, "steps": steps})

    @cached_property
    def pictures(self) -> dict[str, bytes]:
        """Return pictures of FD against NFE by name: `fd.png` and `fd.svg`.

        Raises:
            ValueError: A run is not finished, or its result is damaged.
        """
        from .pictures import draw_scores  # brings matplotlib, which nothing else here needs

        kinds = {name: Path(name).suffix[1:] for name in PICTURES}
        return {name: draw_scores(self.curves, self._title, kind) for name, kind in kinds.items()}

    @property
    def result(self) -> dict[str, Any]:
        """Return what sweep.json holds.

        Raises:
            ValueError: A run is not finished, or its result is damaged.
        """
        points = {
            name: [
                {"nfe": nfe, "sampler": sampler, "fd": score.value, "half": score.half}
                for nfe, (sampler, score) in line.items()
            ]
            for name, line in self.curves.items()
        }
        return {
            "steps": list(self.runs),
            "report_features": self._space,
            "curves": points,
            "runs": [run.checked_result for run in self.runs.values()],
            "sweep": None if self.path is None else str(self.path),
        }

    def keep(self) -> None:
        """Write the table, the pictures and the result to the sweep's folder, if it has one.

        Raises:
            OSError: They cannot be written.
        """
        if self.path is None:
            return
        for name, picture in self.pictures.items():
            write(self.path / name, picture)
        write(self.path / "fd.md", f"{self.table.markdown()}\n".encode())
        write_json(self.path / RESULT, self.result)

    def __repr__(self) -> str:
        where = "in memory" if self.path is None else str(self.path)
        counts = ", ".join(map(str, self.runs))
        return f"Sweep({self._family}, {counts} steps, {where})"

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self.pictures["fd.png"]).decode()
        image = f'<img alt="FD against NFE" src="data:image/png;base64,{picture}">'
        return f"<div><h3>{html.escape(self._title)}</h3>{self.table.html()}<p>{image}</p></div>"

    @property
    def _first(self) -> Run:
        return next(iter(self.runs.values()))

    @property
    def _space(self) -> str:
        return self._first.config.report_features

    @property
    def _family(self) -> str:
        return label_of(self._first.config.family)

    @property
    def _about(self) -> str:
        config = self._first.config
        return f"FD in {label_of(self._space)}; n = {config.n}; seed {config.seed}"

    @property
    def _title(self) -> str:
        config = self._first.config
        return printable(f"{self._family} for {label_of(config.model)}, {self._about}")


@singledispatch
def runs_of(given: Any) -> dict[int, Any]:
    """Unfold a sweep, or the folder of one.

    Args:
        given: A sweep, its folder or a file in it; or anything else.

    Returns:
        The runs or their folders by their numbers of steps, which rise; none of anything else.

    Raises:
        ValueError: The folder's sweep.toml is damaged.
    """
    return {}


@runs_of.register
def _(given: Sweep) -> dict[int, Any]:
    return dict(given.runs)


@runs_of.register
def _(given: str | Path) -> dict[int, Any]:
    folder = run_folder(given)
    if not is_sweep(folder):
        return {}
    return {steps: folder / run_name(steps) for steps in load_sweep(folder)}
