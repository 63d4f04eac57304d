"""Export a run for another tool, by the tool's name."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from ..runs.names import find
from ..runs.run import Run, load_run
from .grid_lists import export_grids
from .sampler import PlainSampler, plain_sampler

Exporter: TypeAlias = Callable[[PlainSampler, Path], list[Path]]


def export(
    run: Run | str | Path,
    to: str,
    out: str | Path,
    name: str | None = None,
    *,
    grid_only: bool = False,
    n: int = 10_000,
    seed: int = 0,
    shift: float = 1.0,
    progress: bool = True,
) -> list[Path]:
    """Write a searched sampler as files that another tool runs without samplerzoo.

    Args:
        run: A run, its folder, or `hf:owner/name[@revision]`.
        to: The tool: `diffusers`, `k-diffusion`, `comfyui`, `json`, or a plugin's name of the
            group `samplerzoo.exporters`.
        out: The folder to write to, made where it is not there.
        name: What the sampler is called there; by default its family and number of evaluations.
        grid_only: Write, as JSON alone, the best list for each of diffusers' schedulers that take
            one, and what it costs; see `samplerzoo export --help`.
        n: Samples that a list is scored with.
        seed: Of these samples.
        shift: The shift of a flow model's scheduler, which its lists undo.
        progress: Whether bars are shown on stderr, of lists.

    Returns:
        The files that were written.

    Raises:
        ValueError: There is no such run or tool, or the name cannot be a file's.
        ConnectionError: The Hub is out of reach.
        OSError: The folder cannot be written.
    """
    found = run if isinstance(run, Run) else load_run(run)
    if not grid_only:
        return exporter(to)(numbers_of(found, name), Path(out))
    if to != "json":
        raise ValueError(f"A list alone is exported as json, not as {to!r}.")
    return export_grids(found, sampler_name(found, name), Path(out), n, seed, shift, progress)


def exporter(tool: str) -> Exporter:
    """Find what writes for a tool.

    Args:
        tool: The name of a member of the group `samplerzoo.exporters`.

    Returns:
        A function of a sampler and a folder.

    Raises:
        ValueError: There is no such member, or it does not load.
    """
    return find("exporters", tool, allow_code=True)


def numbers_of(run: Run, name: str | None = None) -> PlainSampler:
    """Read off a run what other tools need, for which its model is loaded.

    Args:
        run: The run.
        name: What the sampler is called there; by default its family and number of evaluations.

    Returns:
        The numbers.

    Raises:
        ValueError: The name cannot be a file's, or the model cannot be loaded.
        ConnectionError: The Hub is out of reach.
    """
    config = run.config
    name = sampler_name(run, name)
    table = run.table_on(run.model)
    about = {"family": config.family, "nfe": table.nfe, "seed": config.seed}
    return plain_sampler(name, table, run.model, about)


def sampler_name(run: Run, name: str | None) -> str:
    """Name a run's sampler: as given, or by its family and number of evaluations.

    Raises:
        ValueError: The name cannot be a file's.
    """
    name = name or f"{run.config.family}-{run.config.steps}".replace(":", "-")
    check_name(name)
    return name


def check_name(name: str) -> None:
    """Refuse a sampler's name that cannot be a file's.

    Raises:
        ValueError: It holds something else than letters, digits, dots, dashes and underscores.
    """
    if not re.fullmatch(r"[\w.-]{1,80}", name) or name.startswith("."):
        raise ValueError(
            f"The name is {name!r}; it must be 1 to 80 letters, digits, dots, dashes or "
            "underscores."
        )
