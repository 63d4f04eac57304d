"""samplerzoo import"""

from pathlib import Path

import click

from ..notices import say
from ..runs.errors import RunError
from ..wording import phrase
from .common import UsageError, as_text, command, debug_option, json_option


@command("import")
@click.argument("source")
@click.option(
    "--steps",
    default=10,
    show_default=True,
    help="num_inference_steps; Heun's and PNDM's schedulers ask the network more often.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="File to write, in .json."
)
@click.option("--name", help="What the sampler is called.  [default: its class and NFE]")
@json_option
@debug_option
def import_(source: str, steps: int, out: Path, name: str | None, as_json: bool):
    """Read the sampler that a diffusers scheduler's configuration says.

    SOURCE is a scheduler_config.json, a pipeline's or a scheduler's folder, or hf:owner/name. The
    file holds the table that the scheduler's class runs: `evaluate` scores it, `search -F
    start=FILE` starts from it, and `sample FILE --model MODEL` draws with it.
    """
    if out.suffix != ".json":
        raise UsageError(f"--out is {str(out)!r}; it must end in .json.")
    from ..exporters.importing import import_scheduler

    try:
        found = import_scheduler(source, steps, out, name)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {phrase(error)}.") from error
    nfe = len(found.family.times)
    if as_json:
        told = {"sampler": str(out), "name": found.name, "steps": steps, "nfe": nfe}
        return as_text({**told, "times": found.family.times, "notes": found.notes})
    for sentence in found.notes:
        say("info", sentence)
    return f"{out}: {found.name}, {nfe} network evaluations"
