"""What is said of guidance: a sampler's weights, and which of them are searched."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..core.families import AbstractFamily, Guided, guide
from ..core.model import DiffusionModel
from ..core.table import StepTable
from ..wording import shown

OPTION = "guidance"  # of every family
_NUMBER = r"\d{1,4}(?:\.\d{0,9})?"
_WEIGHTS = re.compile(
    rf"(?:(?P<each>{_NUMBER}(?:/{_NUMBER})*)(?:@(?P<first>{_NUMBER})-(?P<last>{_NUMBER}))?"
    r"(?:-(?P<shape>rising|falling))?)?(?P<searched>-?searched)?"
)


class Guidance(NamedTuple):
    """The weights of classifier-free guidance of a sampler.

    Attributes:
        weights: A weight for each evaluation, from which searched ones start.
        searched: The rows whose weights are searched.
    """

    weights: tuple[float, ...]
    searched: tuple[int, ...]


def read_guidance(given: Any, steps: int) -> Guidance:
    """Read the weights of guidance.

    Args:
        given: A number, the weight of all steps; or a text:
            `2` or `1/3/3/1` are the weights, the same of all steps or one for each;
            `3@0.2-0.8` is 3 from a share of 0.2 of the steps to one of 0.8, and 1 outside;
            `3-rising` grows evenly from 1 at the first step to 3 at the last, `3-falling` shrinks
            from 3 to 1. With `-searched` behind it, what is not outside an interval is searched
            from there; `searched` alone starts at 1.
        steps: How many steps the sampler has.

    Returns:
        The weights, and which are searched.

    Raises:
        ValueError: It does not look like that, or has not one weight for each step.
    """
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    text = str(given) if is_number else given
    match = _WEIGHTS.fullmatch(text) if isinstance(text, str) and text else None
    if match is None or (match["each"] is None) == (match["searched"] != "searched"):
        raise _refused(given)
    numbers = [float(number) for number in (match["each"] or "1").split("/")]
    if len(numbers) not in (1, steps):
        raise ValueError(
            f"guidance is {shown(given)}, {len(numbers)} weights for {steps} steps; give one, or "
            "one for each."
        )
    inside = _inside(given, match["first"], match["last"], steps)
    each = numbers * steps if len(numbers) == 1 else numbers
    each = [_bent(weight, n, steps, match["shape"]) for n, weight in enumerate(each)]
    weights = tuple(weight if inside[n] else 1.0 for n, weight in enumerate(each))
    rows = tuple(n for n in range(steps) if inside[n]) if match["searched"] else ()
    return Guidance(weights, rows)


def fixed_part(given: Any) -> str:
    """Return what is said of guidance without its search: the weights that it starts from."""
    return re.sub("-?searched$", "", str(given)) or "1"


def with_guidance(family: AbstractFamily, given: Any, steps: int) -> AbstractFamily:
    """Give a family the guidance that is said of it; the same family for `None`."""
    return family if given is None else Guided(family, *read_guidance(given, steps))


def beside(
    tables: Mapping[str, StepTable], options: Mapping[str, Any], steps: int, named: bool = False
) -> dict[str, StepTable]:
    """Give tables the weights that a search's guidance starts from, so that they compare.

    Args:
        tables: Samplers without guidance, by name.
        options: Those of the family that is searched.
        steps: How many steps they have.
        named: Whether their names say the guidance, too.

    Returns:
        The samplers by name; as they are where the family has no guidance.
    """
    given = options.get(OPTION)
    if given is None:
        return dict(tables)
    weights = read_guidance(given, steps).weights
    return {
        name_beside(name, options) if named else name: guide(table, weights)
        for name, table in tables.items()
    }


def name_beside(name: str, options: Mapping[str, Any]) -> str:
    """Say in a sampler's name, as an evaluation takes it, the guidance that a search starts from.

    Args:
        name: The sampler without guidance.
        options: Those of the family that is searched.
    """
    given = options.get(OPTION)
    if given is None:
        return name
    return f"{name}{',' if ':' in name else ':'}{OPTION}={fixed_part(given)}"


def check_guidance(table: StepTable, model: DiffusionModel, what: str) -> None:
    """Refuse a table with guidance for a model that cannot be guided.

    Raises:
        ValueError: The model has no conditions, or none that stands for none.
    """
    if table.guidance is not None:
        check_guidable(model, what)


def check_guidable(model: DiffusionModel, what: str) -> None:
    """Refuse guidance of a model without a condition that stands for none.

    Raises:
        ValueError: The model has no conditions, or none that stands for none.
    """
    if model.conditions is None or model.null is None:
        lacks = "no conditions" if model.conditions is None else "no condition that stands for none"
        raise ValueError(
            f"{what} has guidance, and this model has {lacks}; leave guidance out, or take a model "
            "with labels such as digits-conditional."
        )


def _inside(given: Any, first: str | None, last: str | None, steps: int) -> list[bool]:
    """Which steps lie in an interval of shares; all where there is none."""
    if first is None or last is None:
        return [True] * steps
    low, high = float(first), float(last)
    found = [low <= n / steps < high for n in range(steps)]
    if not 0 <= low < high <= 1 or not any(found):
        raise ValueError(
            f"guidance is {shown(given)}; its interval must be two rising shares of the steps, "
            f"such as 0.2-0.8, with one of the {steps} steps between them."
        )
    return found


def _bent(weight: float, n: int, steps: int, shape: str | None) -> float:
    """The weight of step n where weights rise from 1, or fall to it."""
    if shape is None or steps == 1:
        return weight
    share = n / (steps - 1)
    return 1 + (weight - 1) * (share if shape == "rising" else 1 - share)


def _refused(given: Any) -> ValueError:
    return ValueError(
        f"guidance is {shown(given)}; it must be a weight such as 2, one for each step (1/3/3/1), "
        "3@0.2-0.8, 3-rising or 3-falling, with -searched behind it, or searched alone."
    )
