"""samplerzoo search"""

import dataclasses
from contextlib import suppress
from pathlib import Path

import click

from ._common import (
    Wrong,
    check_hashes,
    debug_option,
    json_option,
    microbatch,
    pairs,
    quiet_option,
    resuming,
    usage,
    working_on,
)
from ._processes import Crew, joined, process_options


@click.command()
@click.option("--family", default="rddim", show_default=True, help="Sampler family to search.")
@click.option("-F", "family_options", multiple=True, callback=pairs, metavar="KEY=VALUE",
              help="An option of the family, such as eta=0.5; repeatable.")  # fmt: skip
@click.option("--steps", default=10, show_default=True, help="Network evaluations a sample, K.")
@click.option("--times", default="quadratic-searched", show_default=True,
              type=click.Choice([f"{s}{m}" for s in ("linear", "quadratic")
                                 for m in ("", "-searched", "-decoupled")]),
              help="Stride of the times; searched from there; with those told to the network "
                   "apart from the sampler's own.")  # fmt: skip
@click.option("--model", default="digits", show_default=True,
              help="A model's name, hf:owner/name[@revision], a folder in diffusers' layout, "
              "openai:PRESET:PATH (a .pt file), or python:module:attribute (a DiffusionModel or "
              "what makes one).")  # fmt: skip
@click.option("--label", type=int, help="Class to sample, of a class-conditional checkpoint.")
@click.option("--guidance", type=float, help="Weight of classifier-free guidance; 1 is none. Each "
              "step is two evaluations then; the last label stands for no class.")  # fmt: skip
@click.option("--data", help="A data set's name, a folder or zip of images, an .npz or .npy, "
              "CIFAR's own archive, a folder of Parquet files, or python:module:attribute.  "
              "[default: of an embedded model, its own]")  # fmt: skip
@click.option("--split", help="Part of the data: a folder in them, an array of an .npz, Parquet "
              "files of that name; of CIFAR train or test.")  # fmt: skip
@click.option("--crop", is_flag=True, help="Crop images to their centre square and resize them.")
@click.option("--features", help="Features the search compares: a name, resnet:PATH (a CIFAR "
              "ResNet's safetensors), or python:module:attribute (a function of one sample).  "
              "[default: likewise, digits-cnn or cifar10-resnet]")  # fmt: skip
@click.option("--report-features",
              help="Other features, for the report.  "
              "[default: likewise, digits-mlp or cifar10-cnn]")  # fmt: skip
@click.option("--kernel", default="linear", show_default=True, help="Kernel of the KID.")
@click.option("-k", "kernel_options", multiple=True, callback=pairs, metavar="KEY=VALUE",
              help="An option of the kernel, such as degree=3; repeatable.")  # fmt: skip
@click.option("--batch", default=512, show_default=True, help="Samples a step.")
@click.option("--microbatch", default="auto", show_default=True, callback=microbatch,
              help="Most samples that a device takes through the network at a time; the gradient "
              "is the whole batch's. auto: what its free memory holds.")  # fmt: skip
@click.option("--dtype", default="float32", show_default=True,
              type=click.Choice(["float32", "bfloat16"]),
              help="Of the network's arithmetic; all else is float32.")  # fmt: skip
@click.option("--iterations", default=300, show_default=True, help="Steps of the optimiser.")
@click.option("--learning-rate", default=0.03, show_default=True, help="Adam's highest rate.")
@click.option("--n", default=10_000, show_default=True, help="Samples scored at the end.")
@click.option("--seed", default=0, show_default=True, help="Of the search and of the report.")
@click.option("--checkpoint-every", default=5.0, show_default=True, metavar="SECONDS",
              help="Longest time between two checkpoints.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path),
              help="Folder of the run.  [default: a new one under runs/]")  # fmt: skip
@process_options
@json_option
@quiet_option
@debug_option
def search(out: Path | None, coordinator, processes, process_id, as_json, quiet, **given):
    """Search a sampler's free parameters by gradient descent on KID.

    With no options, searches RDDIM at 10 steps for the embedded digits model, in about a minute.
    The batch is split over all devices, and over those of all processes that run this together.
    """
    with usage():
        config = _config(given)
    with joined(coordinator, processes, process_id) as crew:
        _search(crew, out, config, as_json, quiet or not crew.first)


def _search(crew: Crew, out: Path | None, config, as_json: bool, quiet: bool) -> None:
    with usage():
        if out is not None and crew.first:
            _refuse_taken(out)
        from ._load import load_setup

        setup = load_setup(config, quiet)
        config = dataclasses.replace(config, hashes=setup.hashes)
        folder = crew.scratch or out or _fresh(f"{config.family}-{config.steps}-")
        folder.mkdir(parents=True, exist_ok=True)
    from ..runs.store import load_config, save_config
    from ._run import execute

    with working_on(folder):
        with usage():
            if crew.first:
                _refuse_taken(folder)  # by another process, meanwhile
                save_config(folder, config)
            crew.share(folder, "config.toml")
            check_hashes(load_config(folder), config.hashes)
        execute(folder, config, setup, crew, quiet, as_json)


def _config(given: dict):
    """The configuration, with the embedded data and features where the model is theirs."""
    from ..registry import entries
    from ..runs.names import defaults as defaults_of, pinned
    from ..runs.spec import Config, versions

    defaults = defaults_of(given["model"])
    for name in ("data", "features", "report_features"):
        if given[name] is None and name not in defaults:
            group = "datasets" if name == "data" else "features"
            raise Wrong(
                f"The model {given['model']!r} has no default for --{name.replace('_', '-')}; "
                f"give one (installed: {', '.join(entries(group))})."
            )
        given[name] = given[name] or defaults[name]
    for part, group in _KEPT.items():
        given[part] = pinned(group, given[part])
    return Config(**given, versions=versions(*_plugins(given)))


# The parts whose names must stay the same, and the group of each.
_KEPT = {"data": "datasets", "model": "models", "features": "features",
         "report_features": "features"}  # fmt: skip


def _plugins(given: dict) -> set[str]:
    """The distributions of all named parts that come from one."""
    from ..registry import entries

    groups = {"family": "families", "kernel": "kernels", "model": "models", "data": "datasets",
              "features": "features", "report_features": "features"}  # fmt: skip
    points = [p for part, group in groups.items() for p in entries(group).get(given[part], [])]
    return {point.dist.name for point in points if point.dist}


def _refuse_taken(folder: Path) -> None:
    """Refuse a folder that holds anything; nothing is ever overwritten."""
    if folder.exists() and not folder.is_dir():
        raise Wrong(f"--out {folder} is a file; give a new folder.")
    if (folder / "config.toml").exists():
        raise Wrong(
            f"--out {folder} holds another run; give a new folder, or `{resuming(folder)}`."
        )
    if folder.exists() and any(not p.name.endswith(".tmp") for p in folder.iterdir()):
        raise Wrong(f"--out {folder} is not empty; give a new folder.")


def _fresh(prefix: str) -> Path:
    """A new numbered folder under runs/, the first that did not exist."""
    number = 0
    while True:
        number += 1
        folder = Path("runs") / f"{prefix}{number:03}"
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
