"""The Hub's errors as sentences."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from ..limits import DOWNLOAD_BYTES, LimitError
from ..wording import phrase
from .addresses import Address
from .guard import HubError, guarded

# What the client's reading of an answer ends with where it is none of the Hub's.
_ODD = (
    json.JSONDecodeError,
    UnicodeError,
    RecursionError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    AssertionError,
)


@contextmanager
def explained(
    address: Address,
    commit: str | None = None,
    weights: bool = False,
    size: int | None = None,
) -> Iterator[None]:
    """Guard what the Hub's client gets, and turn its errors into sentences.

    ValueError is for what the user can put right: a name, a licence, a login. ConnectionError is
    for the network, the Hub, and files that did not arrive as they are.

    Args:
        address: The repository.
        commit: The commit that all answers must be of; None for any.
        weights: Whether weights are fetched, whose size has no limit of ours.
        size: The size of the file in bytes, where the Hub told it before.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # of whichever library it uses
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, page = address.repository, f"{constants.ENDPOINT}/{address.repository}"
    try:
        with guarded(name, commit, None if weights else DOWNLOAD_BYTES.most, size):
            yield
    except (HubError, LimitError):
        raise
    except GatedRepoError as error:
        raise ValueError(
            f"{name} is gated: accept its terms at {page}, then log in with `hf auth login` (or "
            "set HF_TOKEN)."
        ) from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"There is no {page}, or it is private and you are not logged in as one who may read "
            "it (`hf auth login`, or HF_TOKEN)."
        ) from error
    except RevisionNotFoundError as error:
        raise ValueError(f"{name} has no revision {address.revision!r}.") from error
    except LocalTokenNotFoundError as error:
        raise ValueError("Log in with `hf auth login`, or set HF_TOKEN.") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise ValueError(
                f"{constants.ENDPOINT} does not let you do this with {name}; log in with `hf auth "
                "login` (or set HF_TOKEN) as one who may."
            ) from error
        if isinstance(error, EntryNotFoundError):
            raise ValueError(f"{name} has no such file at {address.revision}.") from error
        raise ConnectionError(
            f"{constants.ENDPOINT} answered {error.response.status_code} for {name}; try again "
            "later."
        ) from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        if constants.HF_HUB_OFFLINE:
            raise ConnectionError(
                f"{address} is not in the cache, and HF_HUB_OFFLINE forbids fetching it; run "
                "this once without it."
            ) from error
        raise _cut(address, error) from error
    except _ODD as error:
        raise HubError(
            f"{constants.ENDPOINT} does not answer as the Hub does; look at HF_ENDPOINT and at "
            "your proxy."
        ) from error
    except (HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # about a file of this machine, or its disk
        raise _cut(address, error) from error


def _cut(address: Address, error: Exception) -> ConnectionError:
    """The error of a connection that could not be made or was lost."""
    from huggingface_hub import constants

    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    why = phrase(error)
    return ConnectionError(
        f"{address.repository} could not be fetched from {constants.ENDPOINT} ({why}); run this "
        "again: files that have arrived whole are kept."
    )
