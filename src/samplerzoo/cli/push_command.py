"""samplerzoo push"""

import click

from .common import command, debug_option, quiet_option, run_argument


@command()
@run_argument
@click.argument("name", metavar="OWNER/NAME")
@click.option("--private", is_flag=True, help="Only its owner may see it.")
@click.option(
    "--export/--no-export",
    "with_exports",
    default=True,
    help="Add the files for diffusers, k-diffusion and ComfyUI, or leave them out.  "
    "[default: --export]",
)
@quiet_option
@debug_option
def push(run: str, name: str, private: bool, with_exports: bool, quiet: bool):
    """Publish the finished run in the folder RUN on the Hugging Face Hub.

    What goes there: the sampler, its configuration without the paths of this machine, scores,
    pictures, a model card, and files for other tools as `samplerzoo export` writes them. Log in
    first, with `hf auth login` or HF_TOKEN.
    """
    from pathlib import Path

    from ..publishing.upload import push as call

    return call(Path(run), name, private, with_exports)
