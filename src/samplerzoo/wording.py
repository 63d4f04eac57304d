"""Words for messages: exceptions inside sentences, and values and texts that others wrote."""

import re
import reprlib
import unicodedata
from typing import Any

MOST = 200  # characters of a text that others wrote
MOST_SAID = 300  # characters of an exception's message inside another
MOST_SENTENCE = 2000  # characters of one that stands alone
_MOST_BITS = 14_000  # of a number that is shown; Python prints few more
# What shows nothing on a terminal, though Python counts it as printable.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


class _Short(reprlib.Repr):
    """`repr` of bounded length and depth."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = 4
        self.maxstring = self.maxlong = self.maxother = 80

    def repr_int(self, x: int, level: int) -> str:
        """A number of thousands of digits, which Python does not print, by its size."""
        if x.bit_length() > _MOST_BITS:
            return f"a number of {x.bit_length()} bits"
        return super().repr_int(x, level)


_short = _Short()


def phrase(error: BaseException, most: int = MOST_SAID) -> str:
    """Return an exception's message as one line without its full stop, for inside a sentence.

    It is as `printable` has it: libraries repeat in their messages what a file holds.
    """
    return printable(str(error), most).rstrip(".") or type(error).__name__


def sentence(error: BaseException) -> str:
    """Return an exception's message as one line that ends as a sentence."""
    line = phrase(error, MOST_SENTENCE)
    return line if line.endswith((")", "?", "!")) else f"{line}."


def shown(value: Any) -> str:
    """Return a value from a file as a message shows it: short, and in the file's words.

    Control characters and lone surrogates are escaped, long texts and rows cut; what is nested or
    huge costs no more than what is shown of it.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    line = _short.repr(value)
    return line if len(line) <= MOST else f"{line[: MOST - 3]}..."


def printable(text: str, most: int = MOST) -> str:
    """Return a text that others wrote as a terminal may show it.

    Control characters, marks that turn or hide text, and lone surrogates become spaces; what is
    longer than `most` characters is cut.
    """
    line = " ".join("".join(map(_seen, text[: 4 * most])).split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def visible(text: str) -> str:
    """Return what of a name can be seen: two names of which it is the same look alike.

    Letters that are forms of one another, such as wide and narrow ones, count as the same.
    """
    return "".join(map(_seen, unicodedata.normalize("NFKC", text))).replace(" ", "")


def _seen(character: str) -> str:
    """A character, or a space for one that shows nothing."""
    return character if character.isprintable() and not _BLANK.match(character) else " "
