"""samplerzoo evaluate"""

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..runs.interruptions import stop_if_asked
from ..wording import phrase
from ._common import (
    FailedError,
    UsageError,
    command,
    debug_option,
    errors,
    numbers,
    quiet_option,
    terminal_width,
)


@command()
@click.argument("targets", nargs=-1, required=True, metavar="RUN|FAMILY...")
@click.option("--steps", default="10", show_default=True, callback=numbers,
              help="Network evaluations of the families, such as 5,10,20.")  # fmt: skip
@click.option("--baselines", is_flag=True, help="Score DDPM and DDIM with both strides too, at "
              "each number of steps that comes up.")  # fmt: skip
@click.option("--n", default=10_000, show_default=True, help="Samples a score.")
@click.option("--seeds", default="0", show_default=True, callback=numbers,
              help="Seeds, such as 0,1,2: with several, means and 95% intervals.")  # fmt: skip
@click.option("--model", help="Model.  [default: the runs', or digits]")
@click.option("--label", type=int, help="Of a class-conditional model, as in search.")
@click.option("--guidance", type=float, help="Likewise.")
@click.option("--data", help="Data.  [default: the runs', or digits]")
@click.option("--split", help="Part of the data, as in search.")
@click.option("--crop", is_flag=True, default=None, help="Likewise.")
@click.option("--held-out", metavar="DATA", help="Data that the model was not trained on, for "
              "--metrics memorisation.")  # fmt: skip
@click.option("--held-out-split", metavar="SPLIT", help="Part of these.")
@click.option("--features", help="Feature spaces, separated by commas.  [default: the runs', or "
              "digits-cnn,digits-mlp]")  # fmt: skip
@click.option("--metrics", help="Metrics, likewise; `samplerzoo list metrics` names them.  "
              "[default: those of fd,kid,precision-recall that apply]")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Folder that keeps the scores: what "
              "is in it is not done again, and more may be added.")  # fmt: skip
@click.option("--format", "form", default="table", show_default=True,
              type=click.Choice(["table", "markdown", "csv", "json"]))  # fmt: skip
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@quiet_option
@debug_option
def evaluate(targets, steps, baselines, n, seeds, metrics, out, form, quiet, **given):
    """Score samplers on one model with the same n and seeds.

    A target is the folder of a run, one published as hf:owner/name, or a family by name: `ddim`
    stands for both of its strides, `ddim-quadratic` for one, `ddim-quadratic:eta=0.5` for one with
    an option.
    """
    if n < 2:
        raise UsageError(f"--n is {n}; it must be at least 2.")
    if given["held_out_split"] and not given["held_out"]:
        raise UsageError("--held-out-split is a part of --held-out; give this too.")
    from ..runs.spec import check_seed
    from ..runs.store import locked

    for seed in seeds:
        check_seed(seed)
    if out and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; give a new folder, or that of an evaluation.")
    with errors():
        targets = list(dict.fromkeys(os.path.normpath(target) for target in targets))
        plan = _plan(targets, given, steps, baselines, quiet)
        found, columns = _metrics(metrics, plan, n, quiet)
        from ..files import digest
        from ..runs.evaluation import open_evaluation
        from ..runs.rows import Scores

        if out:
            _make(out)
        tables = {f"{name} {nfe}": digest(table) for (name, nfe), table in plan.samplers.items()}
    with locked(out, "the same command continues it"):
        with errors():
            plan.about["depends_on"]["n"] = n
            evaluation = open_evaluation(out, plan.about, tables)
        try:
            _fill(evaluation, plan, found, columns, n, seeds, quiet)
            evaluation.finish()
        except OSError as error:
            raise FailedError(
                f"{out} cannot be written ({phrase(error)}); the scores in it are whole, and the "
                "same command continues from them."
            ) from error
    asked = [(name, nfe, space, seed) for name, nfe in plan.samplers for seed in seeds
             for space in plan.features]  # fmt: skip
    scores = Scores([evaluation.rows[key] for key in asked], plan.about)
    if form == "table":
        return scores.text(terminal_width())
    return {"markdown": scores.markdown, "csv": scores.csv, "json": scores.json}[form]()


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be made ({phrase(error)}); give another.") from error


class Plan(NamedTuple):
    """What is compared: all samplers on one model, in the same feature spaces."""

    about: dict[str, Any]
    model: Any
    features: dict[str, Any]
    references: dict[str, Any]
    samplers: dict[tuple[str, int], Any]  # by name and NFE


def _plan(
    targets: list[str], given: dict, steps: list[int], with_baselines: bool, quiet: bool
) -> Plan:
    from ..runs.names import split
    from ..runs.parts import (
        crops,
        hashes,
        load_data,
        load_features,
        load_model,
        load_references,
    )
    from ..runs.targets import find_runs, sampler_tables

    runs = find_runs(targets)
    configs = [run.config for run in runs.values()]
    sys.path[:0] = dict.fromkeys(c.directory for c in configs if c.allow_code)
    chosen = _choose(given, configs)
    ours = all(config.allow_code for config in configs)
    trust = {part: bool(given[part]) or ours for part in ("model", "data", "features")}
    where = (chosen[part] for part in ("model", "dtype", "label", "guidance"))
    model = load_model(*where, allow_code=trust["model"])
    where = (model.shape, model.clip, chosen["split"], chosen["crop"])
    images = load_data(chosen["data"], *where, allow_code=trust["data"])
    held_out = None
    if given["held_out"]:
        crop = crops(given["held_out"], chosen["crop"])
        where = (model.shape, model.clip, given["held_out_split"], crop)
        held_out = load_data(given["held_out"], *where)
    features = {
        name: load_features(name, model.shape, rounding=True, allow_code=trust["features"])
        for name in split(chosen["features"])
    }
    references = load_references(features, images, held_out, not quiet)
    pairs = [pair for t in targets for pair in sampler_tables(t, steps, model, runs)]
    if with_baselines:
        budgets = sorted({table.nfe for _, table in pairs})
        pairs += [pair for t in _BASELINES for pair in sampler_tables(t, budgets, model, {})]
    samplers = {(name, table.nfe * model.passes): table for name, table in pairs}
    depends = {part: chosen[part] for part in ("label", "guidance", "dtype")}
    depends |= hashes(model, images, features, chosen["model"])
    if held_out is not None:
        depends["held-out data"] = held_out.digest
    about = {"model": chosen["model"], "data": chosen["data"], "depends_on": depends}
    return Plan(about, model, features, references, samplers)


_BASELINES = ("ddpm", "ddim")
_OPTIONS = {"report_features": "--features", "dtype": "--model"}  # that stand for others
# What all parts are without runs.
_OF_MODEL = {"model": "digits", "dtype": "float32", "label": None, "guidance": None}
_OF_DATA = {"data": "digits", "split": None, "crop": False}
_SPACES = {"features": "digits-cnn", "report_features": "digits-mlp"}


def _choose(given: dict, configs: list) -> dict[str, Any]:
    """What to compare on: as given, as all runs have it, or the digits.

    With another model or other data than the runs', nothing of theirs stays.
    """
    foreign = not configs and given["model"] not in (None, "digits")
    if foreign and not (given["data"] and given["features"]):
        raise UsageError(
            f"The model {given['model']!r} has no default --data and --features; give them."
        )
    chosen = {}
    for whole, parts in (("model", _OF_MODEL), ("data", _OF_DATA)):
        for name, default in parts.items():
            usual = default if given[whole] else _common(configs, name, default)
            chosen[name] = usual if given.get(name) is None else given[name]
    spaces = [_common(configs, *pair) for pair in _SPACES.items()] if not given["features"] else []
    return {**chosen, "features": given["features"] or ",".join(spaces)}


def _common(configs: list, name: str, default: Any) -> Any:
    """What all runs have in common, or the default without runs."""
    values = {getattr(config, name) for config in configs}
    if len(values) > 1:
        raise UsageError(
            f"The runs differ in {name} ({', '.join(sorted(map(str, values)))}); "
            f"give {_OPTIONS.get(name, f'--{name}')}, or evaluate them apart."
        )
    return values.pop() if values else default


def _metrics(
    words: str | None, plan: Plan, n: int, quiet: bool
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The metrics by name, and the columns that each feature space has of them.

    A metric that lacks something in all feature spaces is refused; of the default ones, left out.
    """
    from ..runs.names import split
    from ..runs.parts import load_metric
    from ..runs.scores import METRICS, lacks

    names = split(words) if words else list(METRICS)
    found, columns = {}, {space: [] for space in plan.features}
    for name in names:
        metric = load_metric(name)
        reasons = {
            space: lacks(metric, plan.features[space], plan.model.shape, reference, n)
            for space, reference in plan.references.items()
        }
        if all(reasons.values()) and words:
            reason = next(iter(reasons.values()))
            raise UsageError(f"The metric {name!r} does not apply, so leave it out: {reason}")
        found[name] = metric
        for space, reason in reasons.items():
            columns[space] += [] if reason else metric.better
    return found, columns


def _fill(
    evaluation: Any, plan: Plan, metrics: dict, columns: dict, n: int, seeds: list[int], quiet: bool
) -> None:
    """Score what is not scored yet; the bar counts network evaluations."""
    from ..core.devices import all_devices
    from ..runs.bars import progress_bar
    from ..runs.rows import read_row
    from ._show import score_rows

    work = [(name, nfe, seed) for name, nfe in plan.samplers for seed in seeds
            if not evaluation.has(name, nfe, seed, columns)]  # fmt: skip
    with progress_bar(n * sum(nfe for _, nfe, _ in work), "evaluate", not quiet) as bar:
        for name, nfe, seed in work:
            rows, _ = score_rows(
                name, plan.samplers[name, nfe], plan.model, plan.features, plan.references,
                n=n, seed=seed, metrics=metrics, mesh=all_devices(),
                advance=lambda drawn, nfe=nfe: stop_if_asked(bar.update(drawn * nfe)),
            )  # fmt: skip
            evaluation.add(read_row(row, name) for row in rows)
            stop_if_asked()
