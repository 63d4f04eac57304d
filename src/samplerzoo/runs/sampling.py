"""Samples of a run, or of a sampler in JSON on a model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..core.model import DiffusionModel
from ..core.types import Key
from .parts import load_model
from .run import Run, draw_checked, load_run
from .saved import SavedSampler, is_file, read_saved


def sample(
    run: Run | SavedSampler | str | Path,
    n: int = 64,
    seed: int = 0,
    key: Key | None = None,
    model: str | Path | DiffusionModel | Callable[[], DiffusionModel] | None = None,
) -> Float[np.ndarray, "n ..."]:
    """Draw samples with the searched sampler of a run, or with one in JSON.

    Args:
        run: A run, its folder, or `hf:owner/name[@revision]`; with a model also a sampler that
            `import_scheduler` returned, or a JSON file that it or `export` wrote.
        n: How many samples.
        seed: Another seed, other samples.
        key: A key in place of the seed; sample number i draws from `fold_in(key, i)`.
        model: The model of a sampler in JSON, as `search` takes it; a run has its own.

    Returns:
        The samples (n, *shape) in the model's range, float32.

    Raises:
        ValueError: There is no such run or sampler, its model cannot be loaded or is not the one
            that it was made for, or `n` or the seed is not allowed.
        ConnectionError: The Hub is out of reach.
    """
    sampler, used = bind(run, model)
    return draw_checked(sampler.table_on, used, n, seed, key)


def bind(
    run: Run | SavedSampler | str | Path,
    model: str | Path | DiffusionModel | Callable[[], DiffusionModel] | None,
) -> tuple[Run | SavedSampler, DiffusionModel]:
    """Find a sampler, and the model that it is to sample.

    Args:
        run: A run, a sampler in JSON, or where it lies.
        model: The model of a sampler in JSON; None of a run.

    Raises:
        ValueError: There is none, a run has a model beside it, or a sampler in JSON has none.
    """
    if isinstance(run, str | Path):
        run = read_saved(run) if is_file(run) else load_run(run)
    if isinstance(run, Run):
        if model is not None:
            raise ValueError("A run has the model that it was searched for; give none beside it.")
        return run, run.model
    if model is None:
        raise ValueError(f"The sampler {run.name!r} is numbers alone; give its model too.")
    return run, load_model(model)
