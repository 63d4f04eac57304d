"""samplerzoo search"""

from pathlib import Path

import click

from ..runs.spec import DEFAULTS, DTYPES
from .common import (
    CONDITIONS,
    LABELS,
    command,
    counts,
    debug_option,
    json_option,
    microbatch,
    pairs,
    process_options,
    quiet_option,
)


def option(name: str, text: str, **more):
    """An option with the default of a search's configuration."""
    field = name.removeprefix("--").replace("-", "_")
    return click.option(name, default=DEFAULTS[field], show_default=True, help=text, **more)


@command()
@option("--family", "Sampler family to search: a name, or python:module:attribute (a class).")
@click.option(
    "-F",
    "family_options",
    multiple=True,
    callback=pairs,
    metavar="KEY=VALUE",
    help="An option of the family, such as eta=0.5, or start=dpmpp-3m-karras: what to "
    "start from, also a file of `import`, by default the best unsearched; or help; repeatable. "
    "A model with conditions can be guided: guidance=2, or 1/3/3/1 (a weight for each step), "
    "3@0.2-0.8, 3-rising; -searched behind it searches the weights from there.",
)
@option(
    "--steps",
    "Network evaluations a sample, K; or several, as in 4,5,6,8,10: a sweep, whose runs are "
    "folders in --out. Each starts from the result of the one before it or from its own start, "
    "whichever is better.",
    type=str,
    metavar="K|K,K,...",
    callback=counts,
)
@option(
    "--times",
    "Grid of the times: linear, quadratic, logsnr, karras, karras-RHO, falling numbers "
    "(1000,600,200) or a file of such; behind it -searched (from there) or -decoupled (those told "
    "to the network too, apart from the sampler's own). searched, decoupled or fixed alone: the "
    "start's grid.",
)
@option(
    "--model",
    "A model's name, hf:owner/name[@revision], a folder in diffusers' layout, "
    "openai:PRESET:PATH (a .pt file), or python:module:attribute (a DiffusionModel or what "
    "makes one).",
)
@click.option("--label", type=int, help="Class to sample, of a class-conditional checkpoint.")
@click.option(
    "--guidance",
    type=float,
    help="Weight of classifier-free guidance; 1 is none. Each "
    "step is two evaluations then; the last label stands for no class.",
)
@click.option("--labels", help=LABELS)
@click.option("--conditions", type=click.Path(path_type=Path), help=CONDITIONS)
@click.option(
    "--data",
    help="A data set's name, a folder or zip of images, an .npz or .npy, "
    "CIFAR's own archive, a folder of Parquet files, or python:module:attribute.  "
    "[default: that of an embedded model]",
)
@click.option(
    "--split",
    help="Part of the data: a folder in them, an array of an .npz, Parquet "
    "files of that name; of CIFAR train or test.",
)
@click.option("--crop", is_flag=True, help="Crop images to their centre square and resize them.")
@click.option(
    "--features",
    help="Features the search compares: a name, resnet:PATH (a CIFAR ResNet's safetensors), "
    "python:module:attribute (a function of one sample), or several with commas.  "
    "[default: those of an embedded model, digits-cnn or cifar10-resnet]",
)
@click.option(
    "--report-features",
    help="Other features, for the report.  [default: those of an "
    "embedded model, digits-mlp or cifar10-cnn]",
)
@option(
    "--objective",
    "What is minimised: kid, teacher, classifier, a plugin's or python:module:attribute, or a sum "
    "such as kid+0.1*teacher:power=1.",
)
@option("--kernel", "Kernel of the KID: a name, or python:module:attribute (a class).")
@click.option(
    "-k",
    "kernel_options",
    multiple=True,
    callback=pairs,
    metavar="KEY=VALUE",
    help="An option of the kernel, such as degree=3, or help; repeatable.",
)
@option(
    "--optimiser",
    "Optimiser: a name, or python:module:attribute (a function of the steps and the highest "
    "learning rate that makes an optax.GradientTransformation).",
)
@option("--batch", "Samples a step.")
@option(
    "--microbatch",
    "Most samples that a device takes through the network at a time; the "
    "gradient is the whole batch's. auto: what its free memory holds.",
    callback=microbatch,
)
@option("--dtype", "Of the network's arithmetic; all else is float32.", type=click.Choice(DTYPES))
@option("--iterations", "Steps of the optimiser.")
@option("--learning-rate", "The optimiser's highest rate; Adam's falls to 0 at the last step.")
@option(
    "--patience",
    "End a search early, when its smoothed objective has had no new best for so many steps, "
    "whatever the learning rate is by then; 0: never.",
    metavar="STEPS",
)
@option("--n", "Samples scored at the end.")
@option("--seed", "Of the search and of the report.")
@option("--checkpoint-every", "Longest time between two checkpoints.", metavar="SECONDS")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run or of the sweep.  [default: a new one under runs/]",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the search in --out if it has begun with "
    "the same options, else begin it: one command for what may restart.",
)
@process_options
@json_option
@quiet_option
@debug_option
def search(out: Path | None, coordinator, processes, process_id, as_json, quiet, **given):
    """Search a sampler's free parameters by gradient descent on KID.

    With no options, searches RDDIM at 10 steps for the embedded digits model, in about a minute.
    The batch is sharded over all devices, and over those of all processes that run this together.
    """
    if told := _help(given):
        return told
    from ..runs.processes import joined
    from ..runs.searching import search as call
    from .texts import search_text

    with joined(coordinator, processes, process_id) as crew:
        found = call(**given, out=out or "auto", progress=not quiet, crew=crew)
    return search_text(found, as_json) if crew.first else None


def _help(given: dict) -> str | None:
    """What the family or the kernel takes, where `-F help` or `-k help` asks for it."""
    for part, group in (("family", "families"), ("kernel", "kernels")):
        if given[f"{part}_options"] is None:
            from ..runs.describing import option_lines, options_of
            from ..runs.names import find

            found = find(group, given[part], allow_code=True)
            options = option_lines(options_of(found, ("steps", "times")))
            return "\n".join([f"Options of the {part} {given[part]}:", *options])
    return None
