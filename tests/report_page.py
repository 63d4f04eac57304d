"""A report as a browser reads it, and what holds of every one."""

import base64
import io
import itertools
import re
import xml.etree.ElementTree as ET
from collections import Counter
from html.parser import HTMLParser
from typing import NamedTuple

import numpy as np
from PIL import Image

VOID = {"meta", "img", "br"}


class Mark(NamedTuple):
    """What a chart shows under one title: its points, and all numbers of its lines."""

    title: str
    points: int
    path: str


class Page(HTMLParser):
    """The elements of a page with their attributes and their text; every one must be closed."""

    def __init__(self, text: str):
        super().__init__()
        self.markup = text
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag: str | None = None) -> str:
        """All text, or that directly in elements of a kind."""
        found = [t for at, t in self.texts if at != "style" and tag in (None, at)]
        return " ".join(" ".join(found).split())

    @property
    def charts(self) -> list[ET.Element]:
        """The pictures that are drawn."""
        return [ET.fromstring(text) for text in re.findall("<svg.*?</svg>", self.markup, re.DOTALL)]

    def marks(self, alt: str) -> list[Mark]:
        """The marks of the charts whose alternative text begins so."""
        marks = [
            mark
            for chart in self.charts
            if chart.attrib["aria-label"].startswith(alt)
            for mark in chart.iter()
            if mark.get("class") == "mark"
        ]
        return [
            Mark(
                mark.findtext("title") or "",
                sum(part.tag == "use" for part in mark.iter()),
                " ".join(part.get("d", "") for part in mark.iter("path")),
            )
            for mark in marks
        ]

    @property
    def images(self) -> list[tuple[str, np.ndarray]]:
        """The alternative text and the pixels of each picture."""
        found = []
        for image in self.all("img"):
            head, _, data = image["src"].partition(",")
            assert head == "data:image/png;base64"
            with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as opened:
                found.append((image["alt"], np.asarray(opened)))
        return found


def check_page(text: str) -> Page:
    """Read a report, which must stand by itself and be accessible."""
    assert text.startswith("<!doctype html>\n")
    page = Page(text)
    names = {name for name, _ in page.elements}
    assert not names & {"script", "iframe", "link", "object", "embed", "form", "base", "audio"}
    for name, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")], name
        for key in ("src", "href", "xlink:href", "action", "data"):
            assert attributes.get(key, "#").startswith(("data:image/png;base64,", "#")), attributes
    style = "".join(t for at, t in page.texts if at == "style")
    assert "url(" not in style and "@import" not in style and "<" not in style  # noqa: PT018
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )
    assert page.text("title")
    ids = Counter(a["id"] for _, a in page.elements if "id" in a)
    assert set(ids.values()) == {1}
    assert {a["href"] for a in page.all("a")} <= {f"#{id_}" for id_ in ids}
    levels = [int(name[1]) for name, _ in page.elements if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(image["alt"] for image in page.all("img"))
    assert all(a["role"] == "img" and a["aria-label"] for a in page.all("svg"))
    assert all("scope" in a for a in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) > 0
    for alt, pixels in page.images:
        assert pixels.size, alt
    return page
