"""How a sampler looks on a page: its colour, the dashes of its lines, the marks of its points."""

import re
from importlib import resources
from typing import NamedTuple

SHEET = (resources.files("samplerzoo.reports") / "templates" / "style.css").read_text()
# The light colours of the style sheet by the names of their variables.
PALETTE = dict(re.findall(r"--(\w+): (#\w{6})", SHEET.partition("@media")[0]))
SEARCHED = [name for name in PALETTE if re.fullmatch(r"s\d", name)]
DASHES = ((), (6, 3), (2, 3), (8, 3, 2, 3))  # lengths of dashes and gaps; none is a solid line
MARKS = ("o", "s", "^", "D")  # as matplotlib calls them


class Look(NamedTuple):
    """A sampler's look.

    Attributes:
        colour: The name of a colour in the style sheet.
        dashes: Lengths of dashes and of the gaps between them; none for a solid line.
        mark: The shape of a point.
    """

    colour: str
    dashes: tuple[int, ...] = ()
    mark: str = "o"

    @property
    def searched(self) -> bool:
        """Whether it is the look of a searched sampler: those have a colour."""
        return self.colour in SEARCHED


def searched_look(number: int) -> Look:
    """Choose the look of a searched sampler: a colour of its own, then other dashes."""
    turn, colour = divmod(number, len(SEARCHED))
    return Look(SEARCHED[colour], DASHES[turn % len(DASHES)], MARKS[turn % len(MARKS)])


def other_look(number: int) -> Look:
    """Choose the look of a baseline: grey, told apart by dashes and then by marks."""
    turn, dashes = divmod(number, len(DASHES))
    return Look("grey", DASHES[dashes], MARKS[(dashes + turn) % len(MARKS)])
