"""What a report says, before it is said: plain numbers, names and pictures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ..core.table import StepTable
from ..runs.names import split
from ..runs.rows import Row
from ..runs.spec import Config
from .looks import Look, other_look, searched_look


@dataclass(frozen=True)
class Search:
    """A finished search.

    Attributes:
        name: The run's folder, or where it is published.
        sampler: What its sampler is called in the report.
        nfe: Network evaluations a sample.
        config: The run's configuration.
        table: The sampler.
        clean: DDIM's coefficients of x0 at the same times.
        noise: DDIM's coefficients of eps at the same times.
        a: The departure of the states' means from the model's, see `samplerzoo.departure`.
        v: That of their variances.
        kids: The KID of each step; NaN for those that were skipped.
        seconds: How long it took; NaN where that was not recorded.
        cost: What else was recorded of its cost.
        kept: Whether it lies in a folder, or is published, where commands find it.
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
    kept: bool = True

    @property
    def seed(self) -> int:
        """The seed of the search."""
        return self.config.seed

    @property
    def called(self) -> str:
        """What tells it from the other searches of the report."""
        return f"{self.sampler}, NFE {self.nfe}, seed {self.seed}"


@dataclass(frozen=True)
class Drawn:
    """Samples that were drawn for the report.

    Attributes:
        sampler: What they were drawn by.
        nfe: Network evaluations a sample.
        samples: The samples.
        seconds: How long one took, in a batch of them all.
    """

    sampler: str
    nfe: int
    samples: Float[np.ndarray, "N ..."]
    seconds: float


@dataclass(frozen=True)
class Facts:
    """Everything a report is made of.

    Attributes:
        model: The model's name.
        t_max: The first time of its schedule.
        passes: Its network evaluations a step.
        n: The samples behind every score.
        rows: The scores.
        better: Of a metric's column, whether `smaller`, `larger` or `neither` is better.
        searches: The searches, in the order of NFE, sampler and seed.
        drawn: Samples of every sampler.
        data: Images of the data; None where they cannot be read here.
        device: What the samples were drawn on, in words.
        command: What makes the report again; empty where no command does.
        no_data: Why there are no images.
        left_out: How many scores of other n there were.
        evaluations: Where scores came from beside the searches.
        versions: Those of the packages that made the report.
        swept: Whether a sweep is among what it is made of.
    """

    model: str
    t_max: float
    passes: int
    n: int
    rows: tuple[Row, ...]
    better: Mapping[str, str]
    searches: tuple[Search, ...]
    drawn: tuple[Drawn, ...]
    data: Float[np.ndarray, "N ..."] | None
    device: str
    command: str
    no_data: str = ""
    left_out: int = 0
    evaluations: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    swept: bool = False

    @property
    def searched(self) -> dict[str, frozenset[str]]:
        """The searched samplers, each with the features that its searches saw."""
        seen: dict[str, set[str]] = {}
        for search in self.searches:
            seen.setdefault(search.sampler, set()).update(split(search.config.features))
        return {sampler: frozenset(spaces) for sampler, spaces in seen.items()}

    @cached_property
    def looks(self) -> dict[str, Look]:
        """How each sampler looks: the searched ones have colours, the others are grey."""
        names = dict.fromkeys(one.sampler for one in (*self.rows, *self.drawn))
        others = [name for name in names if name not in self.searched]
        found = {name: searched_look(n) for n, name in enumerate(self.searched)}
        return found | {name: other_look(n) for n, name in enumerate(others)}

    @property
    def groups(self) -> dict[tuple[int, str], list[Search]]:
        """The searches of each NFE and sampler."""
        found: dict[tuple[int, str], list[Search]] = {}
        for search in self.searches:
            found.setdefault((search.nfe, search.sampler), []).append(search)
        return found

    def at(self, nfe: int) -> list[Search]:
        """Return the searches of an NFE."""
        return [search for search in self.searches if search.nfe == nfe]

    @property
    def steps(self) -> tuple[int, ...]:
        """The numbers of evaluations at which there are searched samplers."""
        return tuple(sorted({search.nfe for search in self.searches}))
