"""samplerzoo resume"""

import dataclasses
import sys
from pathlib import Path

import click

from ._common import (
    check_hashes,
    debug_option,
    json_option,
    microbatch,
    quiet_option,
    run_argument,
    usage,
    working_on,
)
from ._processes import Crew, joined, process_options


@click.command()
@run_argument
@click.option("--microbatch", callback=microbatch, metavar="N|auto",
              help="Another micro-batch, for other devices.  [default: as it began]")  # fmt: skip
@process_options
@json_option
@quiet_option
@debug_option
def resume(run: Path, microbatch, coordinator, processes, process_id, as_json: bool, quiet: bool):
    """Go on with an interrupted search in the folder RUN.

    It ends as if it had never been interrupted: to the last bit on the same devices, to rounding
    on others. Of a finished run the result is printed again.
    """
    with joined(coordinator, processes, process_id) as crew:
        folder = crew.scratch or run
        crew.share(folder, "config.toml", "checkpoint.safetensors", "result.json")
        with usage():
            from ..runs.store import load_config, load_result

            config, result = load_config(folder), load_result(folder)
        if result is None:
            with working_on(folder):
                _go_on(folder, config, microbatch, crew, quiet or not crew.first, as_json)
        elif crew.first:
            from ._show import print_result

            print_result(result, run, as_json)


def _go_on(folder: Path, config, size: int | str | None, crew: Crew, quiet, as_json) -> None:
    with usage():
        if size is not None:
            config = dataclasses.replace(config, microbatch=size)
        _warn_of_versions(config.versions)
        from ._load import load_setup
        from ._run import check_resumable, execute

        if config.allow_code:
            sys.path.insert(0, config.directory)
        setup = load_setup(config, quiet)
        check_hashes(config, setup.hashes)
        check_resumable(folder, config, setup)
    execute(folder, config, setup, crew, quiet, as_json)


def _warn_of_versions(then: dict[str, str]) -> None:
    from importlib.metadata import PackageNotFoundError

    from ..runs.spec import versions

    try:
        now = versions(*(set(then) - {"python"}))
    except PackageNotFoundError as error:
        raise ValueError(f"This run needs the package {error.name}; install it.") from None
    changed = [f"{k} {v} -> {now.get(k)}" for k, v in then.items() if v != now.get(k)]
    if changed:
        click.echo(
            f"Warning: the versions have changed, so numbers may differ: {', '.join(changed)}.",
            err=True,
        )
