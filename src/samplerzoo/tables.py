"""Tables of text, for a terminal, for Markdown, for HTML and as CSV.

Uses the standard library only.
"""

import csv
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GAP = "  "  # between two columns of text


@dataclass(frozen=True)
class Table:
    """Columns of text below their heads; the first ones name the line, the others hold numbers.

    Attributes:
        heads: The name of each column.
        lines: A text for each column, line by line.
        groups: What stands over each column, such as a feature space; empty for none. Neighbours
            with the same group share it.
        labels: How many columns name a line. The first is aligned to the left, all others to the
            right.
        foot: A line below the table; empty for none.
    """

    heads: Sequence[str]
    lines: Sequence[Sequence[str]]
    groups: Sequence[str] = ()
    labels: int = 1
    foot: str = ""

    def text(self, width: int | None = None) -> str:
        """Write the table for a terminal.

        Args:
            width: Characters in a line of the terminal. A table that is wider is folded: one block
                for each group of columns, below one another. None never folds.

        Returns:
            Lines of text without a line break at the end.
        """
        whole = self._block()
        names = dict.fromkeys(name for name in self.groups if name)
        if width is None or len(whole[-1]) <= width or len(names) < 2:
            blocks = [whole]
        else:
            blocks = [self._only(name)._block() for name in names]
        lines = [line for block in blocks for line in block]
        return "\n".join([*lines, self.foot] if self.foot else lines)

    def markdown(self) -> str:
        """Write the table as Markdown; a column's group stands in parentheses after its head."""
        lines = [self._full_heads(), *self.lines]
        first, *rest = [" | ".join(map(_escaped, line)) for line in lines]
        rule = " | ".join(["---", *["---:"] * (len(self.heads) - 1)])
        text = [f"| {line} |" for line in (first, rule, *rest)]
        return "\n".join([*text, "", self.foot] if self.foot else text)

    def html(self) -> str:
        """Write the table as an HTML element, all text escaped."""
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in self._full_heads())
        body = "".join(_html_line(line, self.labels) for line in self.lines)
        caption = f"<caption>{html.escape(self.foot)}</caption>" if self.foot else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _full_heads(self) -> list[str]:
        groups = self.groups or [""] * len(self.heads)
        pairs = zip(self.heads, groups, strict=True)
        return [f"{head} ({group})" if group else head for head, group in pairs]

    def _only(self, group: str) -> "Table":
        """The columns that name lines, and those of one group."""
        kept = [n for n, name in enumerate(self.groups) if n < self.labels or name == group]
        return Table(
            [self.heads[n] for n in kept],
            [[line[n] for n in kept] for line in self.lines],
            [self.groups[n] for n in kept],
            self.labels,
        )

    def _block(self) -> list[str]:
        """All columns below their heads, every line as wide as the last, which is a rule."""
        lines = [self.heads, *self.lines]
        widths = [max(len(line[n]) for line in lines) for n in range(len(self.heads))]
        over = self._group_line(widths) if any(self.groups) else None
        text = [
            GAP.join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
            for line in lines
        ]
        rule = "-" * len(text[0])
        heads = [text[0]] if over is None else [over, text[0]]
        return [*heads, rule, *text[1:], rule]

    def _group_line(self, widths: list[int]) -> str:
        """The groups, each over its columns, whose first is widened to set the groups apart."""
        parts, start = [], 0
        while start < len(widths):
            end = start + 1
            while end < len(widths) and self.groups[end] == self.groups[start]:
                end += 1
            name, rest = self.groups[start], GAP.join(" " * w for w in widths[start + 1 : end])
            taken = len(rest) + len(GAP) * bool(rest)
            if name:
                widths[start] = max(widths[start] + len(GAP), len(name) - taken)
            parts.append(name.rjust(widths[start] + taken))
            start = end
        return GAP.join(parts)


def csv_text(records: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Write records as CSV with all digits.

    Args:
        records: The values of each line by column; what a record lacks stays empty.
        columns: The columns in their order.

    Returns:
        Lines of text without a line break at the end.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue().rstrip("\n")


def _escaped(cell: str) -> str:
    """A cell that ends neither its column nor its line."""
    return " ".join(cell.replace("\\", "\\\\").replace("|", "\\|").split())


def _html_line(line: Sequence[str], labels: int) -> str:
    first, rest = line[:labels], line[labels:]
    cells = [f'<th scope="row">{html.escape(cell)}</th>' for cell in first]
    cells += [f"<td>{html.escape(cell)}</td>" for cell in rest]
    return f"<tr>{''.join(cells)}</tr>"
