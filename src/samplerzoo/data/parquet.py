"""Image data sets of the Hugging Face Hub: Parquet files with the images' files in a column."""

import bisect
import io
import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..limits import GROUP_BYTES, ROWS, LimitError
from ..opening import check_path, open_file
from ..wording import phrase, printable
from .files import Files, no_split, some_names
from .images import Shape
from .parquet_pages import unpacked_size

COLUMNS = ("image", "img")
BATCH = 16  # rows that are held at a time


class Group(NamedTuple):
    """A group of rows: the file that it is in, its number there, the column of images, its rows.

    `repeated` says whether the file keeps values apart from the rows that they are in.
    """

    shard: Path
    number: int
    column: str
    rows: int
    repeated: bool


def find_shards(path: Path) -> list[Path]:
    """Find the Parquet files below a folder, or a file that is one, in order."""
    found = filter(Path.is_file, path.rglob("*.parquet")) if path.is_dir() else [path]
    return sorted(p for p in found if p.suffix == ".parquet" and not p.name.startswith("."))


def open_parquet(
    path: Path, shards: Iterable[Path], shape: Shape, split: str | None = None, crop: bool = False
) -> Files:
    """Open the images of all shards, or of those of a split.

    The split of `train-00000-of-00002.parquet` is train. A few rows are read at a time; a value
    that many rows share is held once.

    Raises:
        ValueError: Where a file is damaged or has no images, or pyarrow is not installed.
        LimitError: Where the rows, or the bytes of a group of them, are too many.
    """
    splits: dict[str, list[Path]] = {}
    for shard in shards:
        splits.setdefault(shard.stem.split("-")[0], []).append(shard)
    if split is not None and split not in splits:
        raise no_split(str(path), split, splits)
    chosen = sorted(splits[split] if split is not None else itertools.chain(*splits.values()))
    groups = [group for shard in chosen for group in _groups(shard)]
    ends = list(itertools.accumulate(group.rows for group in groups))
    total = ends[-1] if ends else 0
    ROWS.check(total, printable(str(path), 1000))

    def names(start: int, stop: int) -> list[str]:
        return list(itertools.islice(_names(groups, ends, start), stop - start))

    reader = _Reader(groups, ends)
    return Files(str(path), total, names, reader.read, shape, crop)


class _Reader:
    """Reads rows on from where it last stopped, if those are asked for."""

    def __init__(self, groups: list[Group], ends: list[int]):
        self._groups, self._ends = groups, ends
        self._rest: tuple[int, Iterator[bytes]] | None = None

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        rest, self._rest = self._rest, None
        at, rows = rest or (-1, iter(()))
        if at != start:
            rows = _rows(self._groups, self._ends, start)
        yield from itertools.islice(rows, stop - start)
        self._rest = stop, rows


def _first(ends: list[int], start: int) -> tuple[int, int]:
    """The group that a row is in, and the row's number there."""
    number = bisect.bisect_right(ends, start)
    return number, start - (ends[number - 1] if number else 0)


def _names(groups: list[Group], ends: list[int], start: int) -> Iterator[str]:
    number, skipped = _first(ends, start)
    shard = groups[number].shard if number < len(groups) else None
    before = sum(group.rows for group in groups[:number] if group.shard == shard)
    for group in groups[number:]:
        before = before if group.shard == shard else 0
        for row in range(before + skipped, before + group.rows):
            yield f"{printable(str(group.shard), 1000)}:{row}"
        shard, before, skipped = group.shard, before + group.rows, 0


def _rows(groups: list[Group], ends: list[int], start: int) -> Iterator[bytes]:
    number, skipped = _first(ends, start)
    names = _names(groups, ends, start)
    for group in groups[number:]:
        for data in itertools.islice(_column(group), skipped, None):
            name = next(names)
            if data is None:
                raise ValueError(f"{name} holds no image: its bytes are missing.")
            yield data
        skipped = 0


def _groups(shard: Path) -> list[Group]:
    """The groups of rows of a file."""
    with _opened(shard) as file, open_file(shard) as raw:
        column, parts = _find_column(file), file.metadata
        numbers = range(parts.num_row_groups)
        found = (_group(shard, number, column, parts.row_group(number), raw) for number in numbers)
        return [group for group in found if group.rows]


def _group(shard: Path, number: int, column: str, part: Any, raw: io.BufferedReader) -> Group:
    """A group of rows. Raises LimitError where its images unpack to too much."""
    chunks = [part.column(n) for n in range(part.num_columns)]
    images = [chunk for chunk in chunks if chunk.path_in_schema == f"{column}.bytes"]
    if part.num_rows < 0:
        raise ValueError("it has a group of fewer rows than none")
    size = 0
    for chunk in images if part.num_rows else ():
        first = chunk.dictionary_page_offset if chunk.has_dictionary_page else None
        start = min(chunk.data_page_offset, first or chunk.data_page_offset)
        size += unpacked_size(raw, start, chunk.total_compressed_size)
    GROUP_BYTES.check(size, f"A group of rows of {printable(str(shard), 1000)}, unpacked,")
    repeated = any(chunk.has_dictionary_page for chunk in images)
    return Group(shard, number, column, part.num_rows, repeated)


def _column(group: Group) -> Iterator[bytes | None]:
    """The images' files of a group of rows."""
    column = f"{group.column}.bytes"
    with _opened(group.shard, [column] * group.repeated) as file:
        batches = file.iter_batches(
            BATCH, row_groups=[group.number], columns=[column], use_threads=False
        )
        for batch in batches:
            for row in batch.column(group.column):
                yield row["bytes"].as_py() if row.is_valid else None


def _find_column(file: Any) -> str:
    """The column of images: {bytes, path}."""
    from pyarrow import types

    schema = file.schema_arrow
    for name in COLUMNS:
        kind = schema.field(name).type if schema.names.count(name) == 1 else None
        if kind is not None and types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            stored = kind.field("bytes").type
            if types.is_binary(stored) or types.is_large_binary(stored):
                return name
    known = some_names(schema.names) or "none"
    raise ValueError(f"no column {' or '.join(COLUMNS)} of images; it has {known}")


@contextmanager
def _opened(shard: Path, repeated: list[str] | None = None) -> Iterator[Any]:
    """A Parquet file; the values of the columns `repeated` are held once each."""
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ValueError(
            f"{shard} is read with pyarrow, which is not installed: pip install "
            "'samplerzoo[parquet]'."
        ) from None
    check_path(shard)
    try:
        with ParquetFile(shard, read_dictionary=repeated or None) as file:
            yield file
    except LimitError:
        raise
    except Exception as error:  # damage shows as one of many kinds
        name = printable(str(shard), 1000)
        raise ValueError(f"{name} cannot be read as Parquet: {phrase(error)}.") from error
