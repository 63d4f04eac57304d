"""Elements of a page: whatever is not markup already is escaped, so no name can inject any."""

import base64
import html
import io
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_VOID = frozenset({"img", "meta"})


class Markup(str):
    """Text that is HTML already: only `tag` and `join` make it."""


Child: TypeAlias = str | int | float | None


def tag(name: str, /, *children: Child, **attributes: Child) -> Markup:
    """An element; `class_` is the attribute class, `_` is `-`, and None leaves a part out."""
    given = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items() if v is not None}
    head = "".join(f' {k}="{html.escape(str(v))}"' for k, v in given.items())
    return Markup(f"<{name}{head}>" + ("" if name in _VOID else f"{join(*children)}</{name}>"))


def join(*children: Child) -> Markup:
    """Children beside one another; text among them is escaped."""
    return Markup(
        "".join(
            child if type(child) is Markup else html.escape(str(child))
            for child in children
            if child is not None
        )
    )


def style(sheet: str) -> Markup:
    """A style sheet, which is never of anything read from a file."""
    return Markup(f"<style>{sheet}</style>")


def heading(level: int, text: Child, id_: str | None = None) -> Markup:
    """A heading, which others may link to."""
    return tag(f"h{level}", text, id_=id_)


def scroll(label: str, *children: Child) -> Markup:
    """What may be wider than the page, in a box that scrolls by itself, also by keyboard."""
    return tag("div", *children, class_="scroll", role="region", aria_label=label, tabindex=0)


def picture(pixels: UInt8[np.ndarray, "H W C"], scale: int, alt: str) -> Markup:
    """An image inside the page, every pixel shown as a square of `scale` pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    height, width = (scale * size for size in pixels.shape[:2])
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return tag("img", src=source, alt=alt, width=width, height=height)


def table(caption: Child, head: Markup, *bodies: Child, class_: str | None = None) -> Markup:
    """A table with its caption and head."""
    body = (tag("tbody", b) if type(b) is Markup and b.startswith("<tr") else b for b in bodies)
    return tag("table", tag("caption", caption), tag("thead", head), *body, class_=class_)


def row(*cells: Child, **attributes: Any) -> Markup:
    """A table's row, whose first cell is its head."""
    first, *rest = cells
    return tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest),
               **attributes)  # fmt: skip


def head_row(*cells: Child) -> Markup:
    """The row that names a table's columns."""
    return tag("tr", *(tag("th", cell, scope="col") for cell in cells))
