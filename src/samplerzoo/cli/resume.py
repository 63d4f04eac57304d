"""samplerzoo resume"""

import json
from pathlib import Path

import click

from ._common import debug_option, json_option, quiet_option, run_argument, usage


@click.command()
@run_argument
@json_option
@quiet_option
@debug_option
def resume(run: Path, as_json: bool, quiet: bool):
    """Go on with an interrupted search in the folder RUN, exactly where it stopped."""
    with usage():
        from ..artifact import Config, versions

        config = Config.load(run)
        if (run / "result.json").exists():
            from ._show import print_result

            print_result(json.loads((run / "result.json").read_text()), as_json)
            return
        now, then = versions(), config.versions
        changed = [f"{k} {v} -> {now.get(k)}" for k, v in then.items() if v != now.get(k)]
        if changed:
            click.echo(f"Warning: the versions have changed: {', '.join(changed)}.", err=True)
        from ._load import load_setup
        from ._run import check_resumable

        setup = load_setup(config)
        check_resumable(run, config, setup)
    from ._run import execute

    execute(run, config, setup, quiet, as_json)
