"""Published runs: fetched, and trusted with nothing."""

import dataclasses
from pathlib import Path

from ..files import write
from ..hub.addresses import Address, parse
from ..hub.fetching import cached, check, download, folder_of, listing, pin
from .spec import Config
from .store import load_config, save_config

FILES = ("config.toml", "sampler.safetensors", "result.json", "samples.png", "curve.png")
_NEEDED = FILES[:2]


def fetch_run(address: Address) -> Path:
    """The folder of the cache with a published run; no request for a commit that is there."""
    address = pin(address, FILES)
    found = cached(address, FILES)
    if not set(_NEEDED) <= set(found):
        sizes = listing(address).sizes
        if lacking := [name for name in _NEEDED if name not in sizes]:
            raise ValueError(
                f"{address.repository} holds no sampler: there is no {lacking[0]} in it."
            )
        found = {name: download(address, name) for name in FILES if name in sizes}
    check(found["sampler.safetensors"])
    return folder_of(found)


def fetch_config(folder: Path) -> Config:
    """Read the configuration of a fetched run, which is trusted with nothing."""
    config = load_config(folder)
    return dataclasses.replace(config, directory=str(Path.cwd()), allow_code=False)


def pull(name: str, out: Path | None = None, allow_code: bool = False) -> Path:
    """Copy a published run into a folder.

    Args:
        name: `owner/name[@revision]`, with or without `hf:`.
        out: A new or empty folder. [default: the name under runs/]
        allow_code: Whether the run may name code and files of this machine.

    Returns:
        The folder.

    Raises:
        ValueError: There is no such run, or the folder is taken.
        ConnectionError: The Hub is out of reach.
    """
    address = parse(name)
    out = out or Path("runs") / address.repository.partition("/")[2]
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty folder; give another --out.")
    fetched = fetch_run(address)
    config = dataclasses.replace(fetch_config(fetched), allow_code=allow_code)
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if name != "config.toml" and (fetched / name).exists():
            write(out / name, (fetched / name).read_bytes())
    save_config(out, config)
    return out
