"""How much the pages of a Parquet file unpack to, by their own headers.

What the footer of a file says of them is not what they are unpacked by. A page begins with a struct
in Thrift's compact protocol (https://github.com/apache/thrift/blob/master/doc/specs/), whose second
and third fields are its size unpacked and packed (parquet.thrift, PageHeader).
"""

import io

_MAX_HEADER = 2**20  # bytes
_MAX_DEPTH = 10
_UNPACKED, _PACKED = 2, 3  # fields
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)


def unpacked_size(file: io.BufferedReader, start: int, packed: int) -> int:
    """Add up the sizes of the pages of a column's chunk, unpacked.

    Args:
        file: The Parquet file.
        start: Where the chunk begins.
        packed: Its length.

    Raises:
        ValueError: Where there is something other than pages.
    """
    at, total = start, 0
    while at < start + packed:
        file.seek(at)
        header = _Header(file.read(min(_MAX_HEADER, start + packed - at)))
        try:
            fields = header.struct(_MAX_DEPTH)
            size, length = fields[_UNPACKED], fields[_PACKED]
        except (IndexError, KeyError) as error:
            raise ValueError("a page has no header that can be read") from error
        if size < 0 or length < 0:
            raise ValueError("a page has a size below nothing")
        at, total = at + header.at + length, total + size
    return total


class _Header:
    """The bytes of a struct, and how many of them have been read."""

    def __init__(self, data: bytes):
        self._data, self.at = data, 0

    def struct(self, depth: int) -> dict[int, int]:
        """Read a struct, of which whole numbers are kept by their fields' numbers."""
        if not depth:
            raise ValueError("a page's header is nested too deeply")
        found, number = {}, 0
        while kind := self._byte():
            number = number + (kind >> 4) if kind >> 4 else self._signed()
            if (value := self._value(kind & 15, depth)) is not None:
                found[number] = value
        return found

    def _value(self, kind: int, depth: int) -> int | None:
        """Read a value, which is handed back if it is a whole number."""
        if kind in _INTEGERS:
            return self._signed()
        if kind in (_TRUE, _FALSE):
            return None
        if kind == _STRUCT:
            self.struct(depth - 1)
        elif kind in (_LIST, _SET):
            self._items(depth)
        elif kind == _BINARY:
            self._skip(self._varint())
        elif kind in (_BYTE, _DOUBLE):
            self._skip(1 if kind == _BYTE else 8)
        else:
            raise ValueError("a page's header has a field of a kind that none has")
        return None

    def _items(self, depth: int) -> None:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        for _ in range(count):
            if head & 15 in (_TRUE, _FALSE):
                self._skip(1)
            else:
                self._value(head & 15, depth)

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self._data):
            raise IndexError

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _signed(self) -> int:
        """A number whose last bit is its sign."""
        value = self._varint()
        return value >> 1 ^ -(value & 1)
