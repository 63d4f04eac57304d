"""The other way: a diffusers scheduler's configuration as a sampler of samplerzoo."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write
from ..formats.diffusers import SCHEDULERS
from ..formats.scheduler_tables import SchedulerSampler, read_sampler
from ..hub import PREFIX, parse
from ..hub.models import fetch_one
from ..runs.saved import SavedSampler, parse_saved
from ..schema import NAMES, read_json
from .exporting import check_name
from .json_file import json_text
from .sampler import PlainSampler, plain_sampler

_ENDINGS = ("Scheduler", "Discrete")


def import_scheduler(
    source: str | Path | Mapping[str, Any],
    steps: int = 10,
    out: str | Path | None = None,
    name: str | None = None,
) -> SavedSampler:
    """Read the sampler that a diffusers scheduler's configuration says.

    It is the table that the scheduler's class runs, in double precision: `evaluate` takes it or its
    file as a baseline, `search` as its option `start`, and `sample` draws with it.

    Args:
        source: A `scheduler_config.json`, a pipeline's or a scheduler's folder, or
            `hf:owner/name[@revision]`; or the configuration itself, such as `scheduler.config`.
        steps: `num_inference_steps`, as a pipeline is told it. Heun's and PNDM's schedulers ask the
            network more often.
        out: The JSON file to write; None keeps it in memory.
        name: What the sampler is called; by default its class and number of evaluations.

    Returns:
        The sampler, with `notes` of what must be known of it.

    Raises:
        ValueError: There is no such configuration, an option of it cannot be had as a table, or
            the scheduler cannot run so many steps.
        ConnectionError: The Hub is out of reach.
        OSError: The file cannot be written.
    """
    found = read_sampler(_configuration(source), steps)
    kind = found.kind
    for ending in _ENDINGS:
        kind = kind.removesuffix(ending)
    name = name or f"{kind.lower()}-{found.table.nfe}"
    check_name(name)
    content = json_text(_plain(name, found, steps))
    if out is not None:
        write(Path(out), content.encode())
    return parse_saved(content, tuple(found.notes))


def _plain(name: str, found: SchedulerSampler, steps: int) -> PlainSampler:
    about = {
        "scheduler": found.kind,
        "steps": steps,
        "nfe": found.table.nfe,
        "notes": found.notes,
    }
    return plain_sampler(name, found.table, found.noise, about)


def _configuration(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """What a scheduler_config.json holds, wherever it lies."""
    if isinstance(source, Mapping):
        return dict(source)
    text = str(source)
    if text.startswith(PREFIX):
        return read_json(fetch_one(parse(text), SCHEDULERS), NAMES)
    path = Path(source)
    if path.is_dir():
        found = [path / place for place in SCHEDULERS if (path / place).is_file()]
        if not found:
            raise ValueError(f"There is no {' or '.join(SCHEDULERS)} in {path}.")
        path = found[0]
    if not path.is_file():
        raise ValueError(
            f"{text!r} is not there: give a scheduler_config.json, a folder with one, or "
            "hf:owner/name."
        )
    return read_json(path, NAMES)
