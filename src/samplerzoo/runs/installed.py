"""What is installed in each group of entry points."""

from ..registry import RegistryError, entries, load, origin


def members(group: str, check: bool) -> list[dict[str, str | None]]:
    """List the members of a group.

    Args:
        group: The group of entry points.
        check: Whether third-party members are loaded, to see whether they work.

    Returns:
        One record for each offer of a name: `name`, `distribution`, `version` and `error`, which is
        None where nothing is known to be wrong.
    """
    found = []
    for name, points in entries(group).items():
        own, clash = origin(points[0]).startswith("samplerzoo "), len(points) > 1
        error = _error(group, name, not clash) if clash or (check and not own) else None
        for point in points:
            distribution, _, version = origin(point).rpartition(" ")
            found.append(
                {"name": name, "distribution": distribution, "version": version, "error": error}
            )
    return found


def _error(group: str, name: str, typed: bool) -> str | None:
    """Why a member does not load, or None."""
    try:
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
