"""samplerzoo resume"""

import sys
from pathlib import Path

import click

from ._common import debug_option, json_option, quiet_option, run_argument, usage, working_on


@click.command()
@run_argument
@json_option
@quiet_option
@debug_option
def resume(run: Path, as_json: bool, quiet: bool):
    """Go on with an interrupted search in the folder RUN.

    It ends as if it had never been interrupted, to the last bit. Of a finished run the result is
    printed again.
    """
    with usage():
        from ..artifact import Config, load_result

        config, result = Config.load(run), load_result(run)
    if result is not None:
        from ._show import print_result

        print_result(result, run, as_json)
        return
    with working_on(run):
        _go_on(run, config, quiet, as_json)


def _go_on(run: Path, config, quiet: bool, as_json: bool) -> None:
    with usage():
        _warn_of_versions(config.versions)
        from ._load import hashes, load_setup
        from ._run import check_resumable, execute

        sys.path.insert(0, config.directory)
        setup = load_setup(config)
        _check_hashes(config.hashes, hashes(setup))
        check_resumable(run, config, setup)
    execute(run, config, setup, quiet, as_json)


def _check_hashes(then: dict[str, str], now: dict[str, str]) -> None:
    if changed := [name for name in then if then[name] != now.get(name)]:
        raise ValueError(
            f"{' and '.join(changed)}: not what it was when this run began, so the run cannot go "
            "on as if it had not been interrupted; search again."
        )


def _warn_of_versions(then: dict[str, str]) -> None:
    from importlib.metadata import PackageNotFoundError

    from ..artifact import versions

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
