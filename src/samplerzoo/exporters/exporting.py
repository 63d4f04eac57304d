"""Export a run for another tool, by the tool's name."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from ..runs.names import find
from ..runs.run import Run, load_run
from .sampler import PlainSampler, plain_sampler

Exporter: TypeAlias = Callable[[PlainSampler, Path], list[Path]]


def export(run: Run | str | Path, to: str, out: str | Path, name: str | None = None) -> list[Path]:
    """Write a searched sampler as files that another tool runs without samplerzoo.

    Args:
        run: A run, its folder, or `hf:owner/name[@revision]`.
        to: The tool: `diffusers`, `k-diffusion`, `comfyui`, `json`, or a plugin's name of the
            group `samplerzoo.exporters`.
        out: The folder to write to, made where it is not there.
        name: What the sampler is called there; by default its family and number of evaluations.

    Returns:
        The files that were written.

    Raises:
        ValueError: There is no such run or tool, or the name cannot be a file's.
        ConnectionError: The Hub is out of reach.
        OSError: The folder cannot be written.
    """
    found = run if isinstance(run, Run) else load_run(run)
    write = find("exporters", to, allow_code=True)
    config = found.config
    name = name or f"{config.family}-{config.steps}".replace(":", "-")
    if not re.fullmatch(r"[\w.-]{1,80}", name) or name.startswith("."):
        raise ValueError(
            f"The name is {name!r}; it must be 1 to 80 letters, digits, dots, dashes or "
            "underscores."
        )
    about = {"family": config.family, "nfe": config.steps, "seed": config.seed}
    return write(plain_sampler(name, found.table_on(found.model), found.model, about), Path(out))
