"""What a report says, before it is said: plain numbers, names and pictures."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from ..core.table import StepTable
from ..runs.rows import Row
from ..runs.spec import Config


@dataclass(frozen=True)
class Search:
    """A finished search: `sampler` is what its sampler is called in the report.

    `clean` and `noise` are DDIM's coefficients at the same times, `a` and `v` the departure from
    the model's marginals (see `samplerzoo.departure`), `kids` the log's, NaN for skipped steps.
    """

    name: str
    sampler: str
    nfe: int
    config: Config
    table: StepTable
    clean: Float[np.ndarray, "K"]
    noise: Float[np.ndarray, "K"]
    a: Float[np.ndarray, "K+1"]
    v: Float[np.ndarray, "K+1"]
    kids: tuple[float, ...]
    seconds: float
    cost: Mapping[str, int]


@dataclass(frozen=True)
class Drawn:
    """Samples drawn for the report, and the seconds that one took in a batch of them all."""

    sampler: str
    nfe: int
    samples: Float[np.ndarray, "N ..."]
    seconds: float


@dataclass(frozen=True)
class Facts:
    """Everything a report is made of; all rows have the same n.

    `better` says of a metric's column whether `smaller`, `larger` or `neither` is better. `data`
    is None where the images cannot be read here, for the reason `no_data`. `left_out` counts rows
    of other n. Runs are in the order of NFE, sampler and seed.
    """

    model: str
    t_max: float
    passes: int
    n: int
    rows: tuple[Row, ...]
    better: Mapping[str, str]
    runs: tuple[Search, ...]
    drawn: tuple[Drawn, ...]
    data: Float[np.ndarray, "N ..."] | None
    device: str
    command: str
    no_data: str = ""
    left_out: int = 0
    evaluations: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def searched(self) -> dict[str, frozenset[str]]:
        """The searched samplers, each with the features that its searches saw."""
        seen: dict[str, set[str]] = {}
        for run in self.runs:
            seen.setdefault(run.sampler, set()).add(run.config.features)
        return {sampler: frozenset(spaces) for sampler, spaces in seen.items()}

    @property
    def looks(self) -> dict[str, str]:
        """Each sampler's class in the page: colours for the searched, greys for the others."""
        names = dict.fromkeys(one.sampler for one in (*self.rows, *self.drawn))
        others = [name for name in names if name not in self.searched]
        found = {name: f"s{n % 6}" for n, name in enumerate(self.searched)}
        return found | {name: f"b{n % 4}" for n, name in enumerate(others)}

    @property
    def groups(self) -> dict[tuple[int, str], list[Search]]:
        """The searches of each NFE and sampler."""
        found: dict[tuple[int, str], list[Search]] = {}
        for run in self.runs:
            found.setdefault((run.nfe, run.sampler), []).append(run)
        return found

    def at(self, nfe: int) -> list[Search]:
        """The searches of an NFE."""
        return [run for run in self.runs if run.nfe == nfe]

    @property
    def steps(self) -> tuple[int, ...]:
        """The numbers of evaluations at which there are searched samplers."""
        return tuple(sorted({run.nfe for run in self.runs}))
