"""samplerzoo evaluate"""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from ._common import Wrong, check_seeds, debug_option, json_option, numbers, quiet_option, usage


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="RUN|FAMILY...")
@click.option("--steps", default="10", show_default=True, callback=numbers,
              help="Network evaluations of the families, such as 5,10,20.")  # fmt: skip
@click.option("--n", default=10_000, show_default=True, help="Samples a score.")
@click.option("--seeds", default="0", show_default=True, callback=numbers,
              help="Seeds, such as 0,1,2: with several, means and 95% intervals.")  # fmt: skip
@click.option("--model", help="Model.  [default: the runs', or digits]")
@click.option("--label", type=int, help="Of a class-conditional model, as in search.")
@click.option("--guidance", type=float, help="Likewise.")
@click.option("--data", help="Data.  [default: the runs', or digits]")
@click.option("--features", help="Feature spaces, separated by commas.  [default: the runs', or "
              "digits-cnn,digits-mlp]")  # fmt: skip
@click.option("--metrics", default="fd,kid", show_default=True, help="Metrics, likewise.")
@json_option
@quiet_option
@debug_option
def evaluate(
    targets, steps, n, seeds, model, label, guidance, data, features, metrics, as_json, quiet
):
    """Score samplers on one model with the same n and seeds.

    A target is the folder of a run, one published as hf:owner/name, or a family by name: `ddim`
    stands for both of its strides, `ddim-quadratic` for one.
    """
    if n < 2:
        raise Wrong(f"--n is {n}; it must be at least 2.")
    check_seeds(*seeds)
    with usage():
        from ..registry import load
        from ._load import load_data, load_features, load_model, load_reference, load_run

        targets = list(dict.fromkeys(target.rstrip("/") for target in targets))
        given = {"model": model, "data": data, "features": features, "report_features": features}
        code = [part for part, name in given.items() if not name]
        found = {t: load_run(t, *code) for t in targets if _is_run(t)}
        runs = [config for _, config in found.values()]
        sys.path[:0] = dict.fromkeys(run.directory for run in runs)
        model = model or _common(runs, "model", "digits")
        own = {} if given["model"] else {n: _common(runs, n, d) for n, d in MODEL_OPTIONS.items()}
        own |= {n: v for n, v in (("label", label), ("guidance", guidance)) if v is not None}
        loaded = load_model(model, **own)
        if not runs and model != "digits" and not (data and features):
            raise Wrong(f"The model {model!r} has no default --data and --features; give them.")
        images = load_data(data or _common(runs, "data", "digits"), loaded)
        spaces = (features or _common(runs, "features", "digits-cnn") + "," + _common(
            runs, "report_features", "digits-mlp")).split(",")  # fmt: skip
        extractors = {s.strip(): load_features(s.strip(), loaded.shape) for s in spaces}
        references = {name: load_reference(name, phi, images) for name, phi in extractors.items()}
        scores = {name.strip(): load("metrics", name.strip()) for name in metrics.split(",")}
        pairs = [pair for target in targets for pair in _tables(target, steps, loaded, found)]
        tables = {(name, table.nfe): table for name, table in pairs}
    from ._show import print_json, progress, score_rows, text_table

    rows = []
    work = [(name, table, seed) for (name, _), table in tables.items() for seed in seeds]
    with redirect_stdout(sys.stderr), progress(work, "evaluate", quiet) as bar:
        for name, table, seed in bar:
            rows += score_rows(
                name, table, loaded, extractors, references, n=n, seed=seed, metrics=scores
            )[0]
    if as_json:
        print_json({"model": model, "rows": rows})
    else:
        click.echo(text_table(rows))


# What a run says of its model, and what it is where nothing is said.
MODEL_OPTIONS = {"dtype": "float32", "label": None, "guidance": None}


def _is_run(target: str) -> bool:
    """Whether a target is a folder; one called as a family is if there is a run in it."""
    from ..hub import PREFIX
    from ..registry import entries

    if target.startswith(PREFIX):
        return True
    path = Path(target)
    return path.is_dir() and (target not in entries("families") or (path / "config.toml").exists())


def _common(runs: list, name: str, default: Any) -> Any:
    """What all runs have in common, or the default without runs."""
    values = {getattr(run, name) for run in runs}
    if len(values) > 1:
        raise Wrong(
            f"The runs differ in {name} ({', '.join(sorted(map(str, values)))}); "
            "evaluate them apart."
        )
    return values.pop() if values else default


def _tables(target: str, steps: list[int], model, runs: dict) -> list:
    """The samplers that one target stands for, with their names."""
    from ..artifact import load_sampler
    from ..evaluate import make_table
    from ..families import STRIDES
    from ..registry import entries
    from ._load import load_family

    if target in runs:
        return [(target, load_sampler(runs[target][0] / "sampler.safetensors")[0])]
    name, _, stride = target.rpartition("-")
    if stride not in STRIDES or target in entries("families"):
        name, stride = target, ""
    if name not in entries("families") and (Path(target).exists() or "/" in target):
        raise Wrong(f"{target!r} is neither the folder of a run nor the name of a family.")
    return [
        (f"{name}-{s}", make_table(load_family(name, k, s, model, {}), model.schedule))
        for k in steps
        for s in ([stride] if stride else STRIDES)
    ]
