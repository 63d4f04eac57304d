"""samplerzoo list"""

import shutil

import click

from ..registry import GROUPS
from .common import as_text, command, debug_option, json_option

# How the options of a part are typed.
_OPTIONS = {
    "families": "-F NAME=VALUE",
    "kernels": "-k NAME=VALUE",
    "objectives": "--objective {name}:NAME=VALUE,NAME=VALUE",
}


@command(name="list")
@click.argument("group", required=False, type=click.Choice(list(GROUPS)))
@click.argument("name", required=False)
@json_option
@debug_option
def list_(group: str | None, name: str | None, as_json: bool):
    """Show what is installed, what it is, who offers it, and what does not load.

    Of all groups (no GROUP), third-party plugins are loaded to see whether they work, in a process
    of their own and for a bounded time. Of one GROUP, nothing is loaded, which is fast, and only
    names offered twice are errors. With a NAME of the group, that part alone: its description, its
    options with their defaults, and where it is defined.
    """
    if group and name:
        from ..runs.describing import details

        found = details(group, name)
        return as_text(found) if as_json else _details(group, found)
    from ..runs.installed import members

    listed = members([group] if group else GROUPS, check=group is None)
    if as_json:
        return as_text(listed)
    names = [str(member["name"]) for records in listed.values() for member in records]
    width = max(map(len, [" " * 20, *names]))
    lines = []
    for title, records in listed.items():
        lines += [f"{title}:"] if group is None else []
        lines += [_line(member, width, indented=group is None) for member in records]
    return "\n".join(lines)


def _line(member: dict, width: int, indented: bool) -> str:
    """A member on one line; on a terminal no wider than that."""
    by = f"{member['distribution']} {member['version']}"
    start = f"{'  ' * indented}{member['name']:<{width}} {by}"
    if member["error"]:
        return f"{start}  ERROR: {member['error']}"
    if not member["description"]:
        return start
    line, columns = f"{start}  {member['description']}", shutil.get_terminal_size((0, 0)).columns
    return line if not columns or len(line) <= columns else f"{line[: columns - 3]}..."


def _details(group: str, found: dict) -> str:
    from ..runs.describing import option_lines

    lines = [
        f"{found['name']}  {found['distribution']}  {found['object']}",
        *([found["source"]] if found["source"] else []),
        "",
        found["description"],
    ]
    if typed := _OPTIONS.get(group):
        words = typed.format(name=found["name"])
        lines += ["", f"Options ({words}):", *option_lines(found["options"])]
    return "\n".join(lines)
