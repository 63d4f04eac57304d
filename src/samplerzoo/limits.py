"""How much is taken of what others made: every limit, with the environment variable that sets it.

What a file claims is compared with a limit before memory, disk or time is given to it. A message
that refuses something names the variable.
"""

import os
from typing import NamedTuple


class LimitError(ValueError):
    """Something of others is larger, or takes longer, than what is allowed."""


class Limit(NamedTuple):
    """A bound on what is taken.

    Attributes:
        variable: The environment variable that sets another bound.
        default: The bound where the variable is not set.
        unit: What is counted, in the plural.
    """

    variable: str
    default: int
    unit: str

    @property
    def most(self) -> int:
        """The bound that holds now.

        Raises:
            LimitError: Where the variable is not a whole number above 0.
        """
        text = os.environ.get(self.variable) or str(self.default)
        if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text)):
            raise LimitError(
                f"The variable {self.variable} is {text[:80]!r}; it must be a whole number above 0."
            )
        return int(text)

    def check(self, count: int, what: str) -> None:
        """Refuse more than the limit.

        Args:
            count: How much there is, or is claimed to be.
            what: The begin of a sentence that names it.

        Raises:
            LimitError: Where it is more than the limit, or less than nothing.
        """
        if not 0 <= count <= self.most:
            raise self.error(f"{what} has {_digits(count)} {self.unit}")

    def error(self, what: str) -> LimitError:
        """Make the error of something that is beyond the limit.

        Args:
            what: A sentence without its end that says how much there is.
        """
        return LimitError(
            f"{what}; at most {self.most:,} {self.unit} are taken. If you trust it, set the "
            f"environment variable {self.variable} higher."
        )


def _digits(count: int) -> str:
    return f"{count:,}" if abs(count) < 10**30 else "far too many"


PIXELS = Limit("SAMPLERZOO_MAX_PIXELS", 2**26, "pixels")  # of one image
FILE_BYTES = Limit("SAMPLERZOO_MAX_FILE_BYTES", 2**28, "bytes")  # of one image's file
UNPACKED_BYTES = Limit("SAMPLERZOO_MAX_UNPACKED_BYTES", 2**30, "bytes")  # of a packed array or tar
TEXT_BYTES = Limit("SAMPLERZOO_MAX_TEXT_BYTES", 2**24, "bytes")  # of JSON and of logs
CONFIG_BYTES = Limit("SAMPLERZOO_MAX_CONFIG_BYTES", 2**16, "bytes")  # of TOML, and a card's YAML
GROUP_BYTES = Limit("SAMPLERZOO_MAX_GROUP_BYTES", 2**29, "bytes")  # of Parquet rows in one group
ROWS = Limit("SAMPLERZOO_MAX_ROWS", 2**27, "rows")  # of Parquet files
DOWNLOAD_BYTES = Limit("SAMPLERZOO_MAX_DOWNLOAD_BYTES", 2**24, "bytes")  # of what is not weights
STEPS = Limit("SAMPLERZOO_MAX_STEPS", 4096, "steps")  # of a sampler
HUB_SECONDS = Limit("SAMPLERZOO_HUB_SECONDS", 60, "seconds")  # of waiting for an answer
PLUGIN_SECONDS = Limit("SAMPLERZOO_PLUGIN_SECONDS", 20, "seconds")  # of a plugin's import
JOIN_SECONDS = Limit("SAMPLERZOO_JOIN_SECONDS", 50, "seconds")  # until all processes are there
