"""samplerzoo push"""

from pathlib import Path

import click

from ._common import debug_option, quiet_option, run_argument, usage


@click.command()
@run_argument
@click.argument("name", metavar="OWNER/NAME")
@click.option("--private", is_flag=True, help="Only its owner may see it.")
@quiet_option
@debug_option
def push(run: Path, name: str, private: bool, quiet: bool):
    """Publish the finished run in the folder RUN on the Hugging Face Hub.

    What goes there: the sampler, its configuration without the paths of this machine, scores,
    pictures and a model card. Log in first, with `hf auth login` or HF_TOKEN.
    """
    with usage():
        from ..publishing.upload import push as publish

        address = publish(run, name, private)
    click.echo(address)
