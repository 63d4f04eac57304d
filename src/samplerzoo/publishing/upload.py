"""A finished run as a repository."""

import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from hashlib import sha256
from itertools import chain, count, product
from pathlib import Path, PurePath
from typing import Any

from ..files import read_tensors, write, write_json, write_tensors
from ..hub import Address, parse
from ..hub.errors import explained
from ..hub.fetching import listing
from ..limits import FILE_BYTES
from ..opening import read_file
from ..runs.names import published_name as without_path, repository, split
from ..runs.run import PICTURES
from ..runs.setup import PARTS
from ..runs.spec import Config
from ..runs.store import load_config, load_result, load_sampler, resuming, run_folder, save_config
from ..wording import printable
from .exports import FOLDER, files_below, write_exports
from .model_card import card_text

_PNG = b"\x89PNG\r\n\x1a\n"
_WITH_PATHS = ("model", "data", "features", "report_features")  # the parts whose names may be paths
_READ = ("config.toml", "sampler.safetensors", "result.json", *PICTURES)  # of a run
_KEPT = ("format", "about")  # of the text in sampler.safetensors
# An absolute path of two parts or more, which is not the end of an address or of a relative one.
_PATH = re.compile(
    r"(?:(?<![\w./~-])|(?<=file://))(?:[A-Za-z]:\\|/)[^\s\\/'\"<>|]+[\\/][^\s'\"<>|,;)]+"
)
_SYSTEM = ("/usr/", "/bin/", "/dev/", "/etc/", "/proc/")  # which tell nothing of a user


def push(run: str | Path, name: str, private: bool, export: bool = True) -> str:
    """Publish a finished run as the repository `name` and return its address.

    With `export` its files for other tools go there too; those of an earlier push are removed.

    Raises ValueError where the run is not finished, where nobody is logged in, or where the
    repository holds something else or is public though a private one is asked for.
    """
    from huggingface_hub import CommitOperationDelete, HfApi, constants, get_token

    address = parse(name)
    if constants.HF_HUB_OFFLINE:
        raise ValueError("HF_HUB_OFFLINE is set; unset it to push.")
    if get_token() is None:
        raise ValueError(
            "Nobody is logged in; log in with `hf auth login`, or set HF_TOKEN, as one who may "
            "write."
        )
    with tempfile.TemporaryDirectory() as folder:
        prepare(run_folder(run), address.repository, Path(folder), export)
        added = _additions(Path(folder))
        there = _check_target(address, private)
        removed = [name for name in there if name.startswith(f"{FOLDER}/") and name not in added]
        with explained(address):
            api = HfApi()
            api.create_repo(address.repository, private=private or None, exist_ok=True)
            done = api.create_commit(
                address.repository,
                [*added.values(), *map(CommitOperationDelete, removed)],
                commit_message="Sampler found by samplerzoo",
            )
    return f"{constants.ENDPOINT}/{address.repository}/tree/{done.oid}"


def _additions(folder: Path) -> dict[str, Any]:
    """The files of a folder as operations of a commit, by their names there."""
    from huggingface_hub import CommitOperationAdd

    names = {path.relative_to(folder).as_posix(): path for path in files_below(folder)}
    return {name: CommitOperationAdd(name, path) for name, path in names.items()}


def _check_target(address: Address, private: bool) -> list[str]:
    """Refuse a repository that exists and is not for this sampler, and list its files."""
    from huggingface_hub import HfApi

    with explained(address):
        if not HfApi().repo_exists(address.repository):
            return []
    found = listing(address)
    if "sampler.safetensors" not in found.sizes and set(found.sizes) - {".gitattributes"}:
        raise ValueError(
            f"{address.repository} exists and holds something else; push to another name."
        )
    if private and not found.private:
        raise ValueError(
            f"{address.repository} exists and is public; make it private in its settings, or "
            "push to another name."
        )
    return list(found.sizes)


def prepare(run: Path, name: str, folder: Path, export: bool = True) -> None:
    """Write what is published of a finished run as `name` into an empty folder.

    Of paths on this machine only the last part is kept, wherever a name stands. With `export` the
    files for other tools are among it.

    Raises:
        ValueError: The run is not finished, a file of it is a link or was not made by it, or
            something of this machine is left.
    """
    if link := next((run / name for name in _READ if (run / name).is_symlink()), None):
        raise ValueError(f"{link} is a link, which is not followed; nothing was sent.")
    config, result = load_config(run), load_result(run)
    if result is None:
        raise ValueError(f"{run} is not finished; `{resuming(run)}` finishes it.")
    base_model = repository(config.model)
    base = listing(base_model).card if base_model else {}
    names = public_names(config)
    public = as_published(config, names)
    save_config(folder, public)
    _, about = load_sampler(run / "sampler.safetensors")
    tensors, metadata = read_tensors(run / "sampler.safetensors")
    about = json.dumps(renamed(about, names), sort_keys=True)
    kept = {key: text for key, text in metadata.items() if key in _KEPT}
    write_tensors(folder / "sampler.safetensors", tensors, kept | {"about": about})
    result = {**renamed(result, names), "run": name}
    write_json(folder / "result.json", result)
    for what, texts in (("The configuration", dataclasses.asdict(public)), ("The result", result)):
        _refuse_paths(what, texts)
    _refuse_paths("The sampler", json.loads(about))
    for name_of_picture in PICTURES:
        write(folder / name_of_picture, _picture(run / name_of_picture, result))
    exports = write_exports(run, name, folder / FOLDER) if export else {}
    write(folder / "README.md", card_text(name, public, result, base, exports).encode())
    refuse_secrets(folder, config)


def _picture(path: Path, result: Mapping[str, Any]) -> bytes:
    """A picture that the run made."""
    remedy = "draw it again: remove result.json, and `samplerzoo resume` makes it"
    data = read_file(path, FILE_BYTES) if path.is_file() else b""
    if not data.startswith(_PNG):
        raise ValueError(f"{path} is not a PNG file; {remedy}.")
    drawn = result.get("drawn", {}).get(path.name)
    if drawn is not None and drawn != sha256(data).hexdigest():
        raise ValueError(f"{path} is not the picture that the run drew; {remedy}.")
    return data


def _refuse_paths(what: str, value: Any) -> None:
    """Refuse a path in any text of JSON-like data, as key or as value."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_paths(what, key)
            _refuse_paths(what, item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_paths(what, item)
    elif isinstance(value, str) and (found := _PATH.search(value)):
        raise ValueError(
            f"{what} would publish the path {printable(found[0])}; nothing was sent. Search with a "
            "name that is not a path."
        )


def public_names(config: Config) -> dict[str, str]:
    """Return what each name of a configuration is called where paths are not told.

    Different names stay different: the second of two files of one name is numbered.
    """
    found: dict[str, str] = {}
    for group in dict.fromkeys(PARTS[part] for part in _WITH_PATHS):
        wholes = [getattr(config, part) for part in _WITH_PATHS if PARTS[part] == group]
        several = group == "features"
        singles = [one for whole in wholes for one in (split(whole) if several else [whole])]
        names: dict[str, str] = {}
        for one in dict.fromkeys(singles):
            names[one] = _numbered(without_path(group, one), names.values())
        found |= names
        if several:
            found |= {whole: ",".join(names[one] for one in split(whole)) for whole in wholes}
    return found


def _numbered(name: str, taken: Collection[str]) -> str:
    others = (f"{name}-{number}" for number in count(2))
    return next(other for other in chain([name], others) if other not in taken)


def as_published(config: Config, names: Mapping[str, str]) -> Config:
    """Return a configuration without the paths of this machine, under other names."""
    parts = {part: names[getattr(config, part)] for part in _WITH_PATHS}
    hashes = {names.get(key, key): value for key, value in config.hashes.items()}
    conditions = config.conditions and PurePath(config.conditions).name
    return dataclasses.replace(config, directory=".", hashes=hashes, conditions=conditions, **parts)


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return JSON-like data with names in place of others, as values and as keys."""
    if isinstance(value, dict):
        return {names.get(key, key): renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def refuse_secrets(folder: Path, config: Config) -> None:
    """Refuse to publish the token, the folders of the user and of the run's modules, other paths.

    Of other paths those that are there on this machine.
    """
    from huggingface_hub import get_token

    paths = [p for p in (Path.home(), Path(config.directory)) if len(p.parts) > 1]
    secrets = {f"the path {path}": str(path) for path in paths} | {"your token": get_token() or ""}
    for what, secret in secrets.items():
        # Whole: the end of a web address such as .../data is not the folder /data.
        spelt = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        for file, one in product(files_below(folder), spelt):
            pattern = re.compile(rb"(?<![\w.-])%b(?![\w-])" % re.escape(one.encode()))
            if secret and pattern.search(file.read_bytes()):
                raise ValueError(
                    f"{file.relative_to(folder)} would publish {what}; nothing was sent."
                )
    for file in files_below(folder):
        for found in _PATH.findall(file.read_bytes().decode(errors="replace")):
            if not found.startswith(_SYSTEM) and os.path.lexists(found):
                raise ValueError(
                    f"{file.relative_to(folder)} would publish the path {printable(found)}; "
                    "nothing was sent."
                )
