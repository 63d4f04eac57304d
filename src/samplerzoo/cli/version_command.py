"""samplerzoo version"""

from ..runs.spec import versions
from .common import as_text, command, debug_option, json_option


@command()
@json_option
@debug_option
def version(as_json: bool):
    """Print the versions of samplerzoo and its main packages."""
    found = versions()
    if as_json:
        return as_text(found)
    return "\n".join(f"{name} {number}" for name, number in found.items())
