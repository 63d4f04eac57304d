"""The features of data sets: computed once, and kept on disk for later runs."""

from .cache import (
    Progress as Progress,
    cache_folder as cache_folder,
    cache_path as cache_path,
    reference as reference,
)
from .given import (
    Bank as Bank,
    Statistics as Statistics,
    is_bank as is_bank,
    is_statistics as is_statistics,
)
from .hashing import fingerprint as fingerprint, same as same
