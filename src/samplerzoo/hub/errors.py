"""The Hub's errors as sentences."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from .reference import Reference


@contextmanager
def explained(reference: Reference) -> Iterator[None]:
    """Turn an error of the Hub's client into a sentence.

    ValueError is for what the user can put right: a name, a licence, a login. ConnectionError is
    for the network, the Hub, and files that did not arrive as they are.
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

    name, page = reference.repository, f"{constants.ENDPOINT}/{reference.repository}"
    try:
        yield
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
        raise ValueError(f"{name} has no revision {reference.revision!r}.") from error
    except LocalTokenNotFoundError as error:
        raise ValueError("Log in with `hf auth login`, or set HF_TOKEN.") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise ValueError(
                f"{constants.ENDPOINT} does not let you do this with {name}; log in with `hf auth "
                "login` (or set HF_TOKEN) as one who may."
            ) from error
        if isinstance(error, EntryNotFoundError):
            raise ValueError(f"{name} has no such file at {reference.revision}.") from error
        raise ConnectionError(
            f"{constants.ENDPOINT} answered {error.response.status_code} for {name}; try again "
            "later."
        ) from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        if constants.HF_HUB_OFFLINE:
            raise ConnectionError(
                f"{reference} is not in the cache, and HF_HUB_OFFLINE forbids fetching it; run "
                "this once without it."
            ) from error
        raise _cut(reference, error) from error
    except json.JSONDecodeError as error:
        raise ConnectionError(
            f"{constants.ENDPOINT} does not answer as the Hub does; look at HF_ENDPOINT and at "
            "your proxy."
        ) from error
    except (HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # about a file of this machine, or its disk
        raise _cut(reference, error) from error


def _cut(reference: Reference, error: Exception) -> ConnectionError:
    """The error of a connection that could not be made or was lost."""
    from huggingface_hub import constants

    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return ConnectionError(
        f"{reference.repository} could not be fetched from {constants.ENDPOINT} ({why}); run this "
        "again: files that have arrived whole are kept."
    )
