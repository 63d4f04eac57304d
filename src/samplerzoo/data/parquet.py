"""Image data sets of the Hugging Face Hub: Parquet files with the images' files in a column."""

import bisect
import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from .files import Files, no_split
from .images import Shape
from .pixels import phrase

COLUMNS = ("image", "img")


def find_shards(path: Path) -> list[Path]:
    """The Parquet files below a folder, or a file that is one, in order."""
    found = path.rglob("*.parquet") if path.is_dir() else [path]
    return sorted(p for p in found if p.suffix == ".parquet" and not p.name.startswith("."))


def open_parquet(
    path: Path, shards: Iterable[Path], shape: Shape, split: str | None = None, crop: bool = False
) -> Files:
    """The images of all shards, or of those of a split: `train-00000-of-00002.parquet`'s is train.

    A group of rows is read at a time. Raises ValueError where pyarrow is not installed.
    """
    splits: dict[str, list[Path]] = {}
    for shard in shards:
        splits.setdefault(shard.stem.split("-")[0], []).append(shard)
    if split is not None and split not in splits:
        raise no_split(str(path), split, splits)
    chosen = sorted(splits[split] if split is not None else itertools.chain(*splits.values()))
    counts = [_counts(shard) for shard in chosen]
    names = [
        f"{shard}:{row}"
        for shard, groups in zip(chosen, counts, strict=True)
        for row in range(sum(groups))
    ]
    places = [
        (shard, n) for shard, groups in zip(chosen, counts, strict=True) for n in range(len(groups))
    ]
    ends = list(itertools.accumulate(itertools.chain(*counts)))
    group = lru_cache(maxsize=1)(_group)

    def load(start: int, stop: int) -> list[bytes]:
        found: list[bytes | None] = []
        while (at := start + len(found)) < stop:
            number = bisect.bisect_right(ends, at)
            first = ends[number - 1] if number else 0
            found += group(*places[number])[at - first : stop - first]
        for name, data in zip(names[start:stop], found, strict=True):
            if data is None:
                raise ValueError(f"{name} holds no image: its bytes are missing.")
        return found  # pyright: ignore[reportReturnType]

    return Files(str(path), names, load, shape, crop)


def _counts(shard: Path) -> list[int]:
    """The number of rows of each group of rows."""
    with _opened(shard) as file:
        _column(file)
        metadata = file.metadata
        return [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]


def _group(shard: Path, number: int) -> list[bytes | None]:
    """The images' files of a group of rows."""
    with _opened(shard) as file:
        name = _column(file)
        column = file.read_row_group(number, columns=[f"{name}.bytes"]).column(name)
        return [row and row["bytes"] for row in column.to_pylist()]


def _column(file: Any) -> str:
    """The column of images: {bytes, path}."""
    from pyarrow import types

    schema = file.schema_arrow
    for name in COLUMNS:
        kind = schema.field(name).type if name in schema.names else None
        if kind is not None and types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            return name
    raise ValueError(
        f"no column {' or '.join(COLUMNS)} of images; it has {', '.join(schema.names)}"
    )


@contextmanager
def _opened(shard: Path) -> Iterator[Any]:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ValueError(
            f"{shard} is read with pyarrow, which is not installed: pip install "
            "'samplerzoo[parquet]'."
        ) from None
    try:
        with ParquetFile(shard) as file:
            yield file
    except Exception as error:  # damage shows as one of many kinds
        raise ValueError(f"{shard} cannot be read as Parquet: {phrase(error)}.") from error
