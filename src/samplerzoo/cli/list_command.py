"""samplerzoo list"""

import click

from ..registry import GROUPS
from .common import as_text, command, debug_option, json_option


@command(name="list")
@click.argument("group", required=False, type=click.Choice(list(GROUPS)))
@json_option
@debug_option
def list_(group: str | None, as_json: bool):
    """Show what is installed, who offers it, and what does not load.

    Of all groups (no GROUP), third-party plugins are loaded to see whether they work, in a process
    of their own and for a bounded time. Of one GROUP, names alone are read, which is fast, and only
    names offered twice are errors.
    """
    from ..runs.installed import members

    found = members([group] if group else GROUPS, check=group is None)
    if as_json:
        return as_text(found)
    names = [str(member["name"]) for records in found.values() for member in records]
    width = max(map(len, [" " * 20, *names]))
    lines = []
    for name, records in found.items():
        lines += [f"{name}:"] if group is None else []
        lines += [_line(member, width, indented=group is None) for member in records]
    return "\n".join(lines)


def _line(member: dict, width: int, indented: bool) -> str:
    problem = f"  ERROR: {member['error']}" if member["error"] else ""
    by = f"{member['distribution']} {member['version']}"
    return f"{'  ' * indented}{member['name']:<{width}} {by}{problem}"
