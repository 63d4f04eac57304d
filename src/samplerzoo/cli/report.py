"""samplerzoo report"""

import shlex
import sys
from contextlib import suppress
from pathlib import Path

import click

from ..wording import phrase
from ._common import FailedError, UsageError, command, debug_option, errors, quiet_option

EVALUATION = "evaluation.json"  # what tells the folder of an evaluation


@command()
@click.argument("folders", nargs=-1, required=True, metavar="RUN|EVALUATION...")
@click.option("--out", type=click.Path(path_type=Path), help="The page.  [default: report.html in "
              "the run's folder, or in the current one where there are several]")  # fmt: skip
@quiet_option
@debug_option
def report(folders: tuple[str, ...], out: Path | None, quiet: bool):
    """Write one HTML page that compares the samplers of finished runs.

    A RUN is a folder, or one published as hf:owner/name; an EVALUATION is the folder of
    `samplerzoo evaluate --out`, whose scores are added. The page says which sampler is best and
    whether that holds in features that no search saw; it opens from disk and needs nothing else.
    """
    names = list(dict.fromkeys(name.rstrip("/") for name in folders))
    evaluations = [name for name in names if (Path(name) / EVALUATION).is_file()]
    runs = [name for name in names if name not in evaluations]
    if not runs:
        raise UsageError("A report needs the folder of a run; evaluations only add scores to it.")
    out = out or Path("report.html" if len(runs) > 1 or runs[0].startswith("hf:") else
                      f"{runs[0]}/report.html")  # fmt: skip
    if Path(runs[0]) != out.parent and not out.absolute().parent.is_dir():
        raise UsageError(f"--out is {str(out)!r}, but there is no folder {out.absolute().parent}.")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; give a file.")
    command = shlex.join(["samplerzoo", "report", *names, "--out", str(out)])
    with errors():
        text = _page(runs, evaluations, command, quiet)
    try:
        from ..files import write

        write(out, text.encode(errors="replace"))
    except OSError as error:
        raise FailedError(f"{out} cannot be written: {phrase(error)}.") from error
    return str(out)


def _page(runs: list[str], evaluations: list[str], command: str, quiet: bool) -> str:
    from ..reports import gather
    from ..reports.facts import Facts
    from ..reports.reading import check_alike, finished
    from ..reports.report import Report
    from ..runs.bars import progress_bar
    from ..runs.run import load_run
    from ..runs.spec import versions

    loaded = {name: load_run(name) for name in runs}
    found = {name: gather.Found(run.path, run.config) for name, run in loaded.items() if run.path}
    configs = {name: run.config for name, run in found.items()}
    check_alike(configs)
    for name, run in found.items():
        finished(name, run.folder)
    sys.path[:0] = dict.fromkeys(c.directory for c in configs.values() if c.allow_code)
    config, model = configs[runs[0]], _model(runs[0], configs[runs[0]])
    read, rows = gather.read_runs(found, model)
    kept, left_out = gather.read_scores(read, rows, map(Path, evaluations))
    data, no_data = _data(config, model)
    with progress_bar(gather.amount(read), "draw", not quiet) as bar:
        drawn = []
        for one in gather.draw(read, model):
            drawn.append(one)
            bar.update()
    return Report.of(
        Facts(
            model=config.model, t_max=model.schedule.t_max, passes=model.passes, n=kept[0].n,
            rows=kept, better=_better(), searches=read, drawn=tuple(drawn), data=data,
            no_data=no_data, device=gather.device(), command=command,
            left_out=left_out,
            evaluations=tuple(evaluations), versions=versions(),
        )
    ).html  # fmt: skip


def _model(name: str, config):
    """The model of a run, which must still be what it was."""
    from ..files import digest
    from ..runs.parts import load_model

    where = (config.model, config.dtype, config.label, config.guidance)
    model = load_model(*where, allow_code=config.allow_code)
    if config.hashes.get("model") not in (None, digest(model)):
        raise ValueError(
            f"The model {config.model!r} is not what it was when {name} began, so its samples "
            "cannot be drawn again."
        )
    return model


def _data(config, model):
    """The first images of the data, or None and why they cannot be shown."""
    from ..reports.samples import columns
    from ..runs.parts import first_images, load_data

    where = (model.shape, model.clip, config.split, config.crop)
    try:
        data = load_data(config.data, *where, allow_code=config.allow_code)
        found = first_images(data, columns(model.shape))
    except (ValueError, OSError) as error:
        return None, phrase(error) + "."
    return found, "" if found is not None else f"{config.data} holds features, and no images."


def _better() -> dict[str, str]:
    """Which side of each metric's columns is better, of all metrics that can be loaded."""
    from ..metrics import Metric
    from ..registry import entries, load

    found: dict[str, str] = {}
    for name in entries("metrics"):
        with suppress(ValueError):
            metric = load("metrics", name)
            found |= metric.better if isinstance(metric, Metric) else {}
    return found
