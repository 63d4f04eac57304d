"""What is installed in each group of entry points."""

from collections.abc import Iterable, Mapping

from ..registry import RegistryError, entries, entry, origin
from ..wording import printable
from .describing import summary
from .plugins import Offer, find_errors

Record = dict[str, str | None]


def members(groups: Iterable[str], check: bool) -> dict[str, list[Record]]:
    """List the members of groups of entry points.

    Args:
        groups: The groups.
        check: Whether third-party members are loaded, to see whether they work: in a process of
            their own and for a bounded time.

    Returns:
        For each group one record for each offer of a name: `name`, `distribution`, `version` and
        `error`, which is None where nothing is known to be wrong; and `description`, a line of the
        member's source, which is not run.
    """
    groups = list(groups)
    errors = find_errors(_offers(groups)) if check else {}
    return {group: _records(group, errors) for group in groups}


def _offers(groups: list[str]) -> list[Offer]:
    """The names that plugins offer, each alone."""
    return [
        Offer(group, name)
        for group in groups
        for name, points in entries(group).items()
        if len(points) == 1 and not origin(points[0]).startswith("samplerzoo ")
    ]


def _records(group: str, errors: Mapping[Offer, str]) -> list[Record]:
    records = []
    for name, points in entries(group).items():
        error = _clash(group, name) if len(points) > 1 else errors.get(Offer(group, name))
        for point in points:
            distribution, _, version = origin(point).rpartition(" ")
            about = {"distribution": distribution, "version": version, "error": error}
            about["description"] = summary(point)
            records.append({"name": printable(name, 80), **about})
    return records


def _clash(group: str, name: str) -> str | None:
    """What is wrong with a name that is offered twice."""
    try:
        entry(group, name)
    except RegistryError as error:
        return str(error)
    return None
