"""samplerzoo version"""

import click

from ._common import debug_option, json_option


@click.command()
@json_option
@debug_option
def version(as_json: bool):
    """Print the versions of samplerzoo and its main packages."""
    from ..runs.spec import versions

    found = versions()
    if as_json:
        from ._show import print_json

        print_json(found)
    else:
        click.echo("\n".join(f"{name} {number}" for name, number in found.items()))
