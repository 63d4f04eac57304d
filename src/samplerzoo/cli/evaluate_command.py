"""samplerzoo evaluate"""

from pathlib import Path

import click

from .common import (
    CONDITIONS,
    LABELS,
    command,
    debug_option,
    numbers,
    quiet_option,
    terminal_width,
)

STEPS = "Network evaluations of the families, such as 5,10,20."
BASELINES = (
    "Score DDPM and DDIM with both strides too, and the best unsearched solver and grid, at each "
    "number of steps that comes up."
)
TIMES = (
    "Grid of the families that name none: linear, quadratic, logsnr, karras, karras-RHO, falling "
    "numbers (1000,600,200) or a file of such.  [default: linear and quadratic]"
)
SEEDS = "Seeds, such as 0,1,2: with several, means and 95% intervals."
HELD_OUT = "Data that the model was not trained on, for --metrics memorisation."
FEATURES = "Feature spaces, separated by commas.  [default: the runs', or the model's own]"
METRICS = (
    "Metrics, separated by commas; `samplerzoo list metrics` names them. nll: the bits per "
    "dimension of the held-out data, or else the data.  [default: those of fd,kid,precision-recall "
    "that apply]"
)
OUT = "Folder that keeps the scores: what is in it is not done again, and more may be added."


@command()
@click.argument("targets", nargs=-1, required=True, metavar="RUN|FAMILY...")
@click.option("--steps", default="10", show_default=True, callback=numbers, help=STEPS)
@click.option("--times", help=TIMES)
@click.option("--baselines", is_flag=True, help=BASELINES)
@click.option("--n", default=10_000, show_default=True, help="Samples a score.")
@click.option("--seeds", default="0", show_default=True, callback=numbers, help=SEEDS)
@click.option("--model", help="Model.  [default: the runs', or digits]")
@click.option("--label", type=int, help="Class to sample, of a class-conditional checkpoint.")
@click.option("--guidance", type=float, help="Weight of classifier-free guidance; 1 is none.")
@click.option("--labels", help=LABELS)
@click.option("--conditions", type=click.Path(path_type=Path), help=CONDITIONS)
@click.option("--data", help="Data.  [default: the runs', or the model's own]")
@click.option("--split", help="Part of the data, as in search.")
@click.option("--crop", is_flag=True, default=None, help="Crop images to their centre square.")
@click.option("--held-out", metavar="DATA", help=HELD_OUT)
@click.option("--held-out-split", metavar="SPLIT", help="Part of the held-out data.")
@click.option("--features", help=FEATURES)
@click.option("--metrics", help=METRICS)
@click.option("--out", type=click.Path(path_type=Path), help=OUT)
@click.option(
    "--format",
    "form",
    default="table",
    show_default=True,
    type=click.Choice(["table", "markdown", "csv", "json"]),
    help="How the scores are printed.",
)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@quiet_option
@debug_option
def evaluate(targets: tuple[str, ...], form: str, quiet: bool, **given):
    """Score samplers on one model with the same n and seeds.

    A target is the folder of a run, that of a sweep for all its runs, a run published as
    hf:owner/name, a sampler that `import` or `export --to json` wrote, or a family by name: `ddim`
    stands for two grids or those of --times, `unipc-3-karras` for one, `ddim-quadratic:eta=0.5` for
    one with an option; `ode` is the adaptive solver of the model's ODE.
    """
    from ..runs.evaluating import evaluate as call

    scores = call(targets, **given, progress=not quiet)
    forms = {"markdown": scores.markdown, "csv": scores.csv, "json": scores.json}
    return scores.text(terminal_width()) if form == "table" else forms[form]()
