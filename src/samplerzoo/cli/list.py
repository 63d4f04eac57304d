"""samplerzoo list"""

import sys
from contextlib import redirect_stdout

import click

from ..registry import GROUPS, RegistryError, entries, load, origin
from ._common import debug_option, json_option


@click.command(name="list")
@click.argument("group", required=False, type=click.Choice(list(GROUPS)))
@json_option
@debug_option
def list_(group: str | None, as_json: bool):
    """Show what is installed, who offers it, and what does not load.

    Of all groups (no GROUP), third-party plugins are loaded to see whether they work. Of one
    GROUP, names alone are read, which is fast, and only names offered twice are errors.
    """
    found = {name: _members(name, group is None) for name in ([group] if group else GROUPS)}
    if as_json:
        import json

        click.echo(json.dumps(found, indent=2))
        return
    names = [str(member["name"]) for members in found.values() for member in members]
    width = max(map(len, [" " * 20, *names]))
    for name, members in found.items():
        if group is None:
            click.echo(f"{name}:")
        for member in members:
            by = f"{member['distribution']} {member['version']}"
            problem = f"  ERROR: {member['error']}" if member["error"] else ""
            click.echo(f"{'  ' if group is None else ''}{member['name']:<{width}} {by}{problem}")


def _members(group: str, check: bool) -> list[dict[str, str | None]]:
    """One record for each offer of a name."""
    members = []
    for name, points in entries(group).items():
        own, clash = origin(points[0]).startswith("samplerzoo "), len(points) > 1
        error = _error(group, name, not clash) if clash or (check and not own) else None
        for point in points:
            distribution, _, version = origin(point).rpartition(" ")
            members.append(
                {"name": name, "distribution": distribution, "version": version, "error": error}
            )
    return members


def _error(group: str, name: str, typed: bool) -> str | None:
    """Why a plugin does not load, or None."""
    try:
        with redirect_stdout(sys.stderr):
            load(group, name, _base(group) if typed else None)
    except RegistryError as error:
        return str(error)
    return None


def _base(group: str) -> type | None:
    """The class that a group's members derive from, where there is one."""
    if group == "families":
        from ..core.families import AbstractFamily

        return AbstractFamily
    if group == "kernels":
        from ..core.kernels import AbstractKernel

        return AbstractKernel
    return None
