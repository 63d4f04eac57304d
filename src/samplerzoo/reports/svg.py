"""Charts of matplotlib as SVG inside a page, in the colours of its style sheet."""

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from warnings import catch_warnings, filterwarnings

import matplotlib.style
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..wording import printable
from .looks import PALETTE

_LONG = 2000  # characters of what is said of a picture, at most
_POINTS = 72  # an inch: one point is one unit of the picture
_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "samplerzoo",
    "text.parse_math": False,
    "font.size": 12,
    "path.simplify": False,
    "figure.dpi": _POINTS,
}
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_VARIABLES = {colour: f"var(--{name})" for name, colour in PALETTE.items()}
_NUMBERS = {"d", "x", "y", "transform", "style"}  # attributes whose numbers are rounded
_XLINK = "{http://www.w3.org/1999/xlink}href"


class Chart:
    """A picture of one pair of axes that is being drawn.

    Attributes:
        figure: The figure, of which one unit is one pixel of the page at most.
        axes: Its axes: no frame, horizontal lines across, labels without ticks.
    """

    def __init__(self, width: int, height: int, margins: tuple[int, int, int, int]):
        """Begin a chart of a size and with margins at the left, right, top and bottom."""
        left, right, top, bottom = margins
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / _POINTS, height / _POINTS), dpi=_POINTS)
        self.figure.subplots_adjust(
            left=left / width, right=1 - right / width, top=1 - top / height, bottom=bottom / height
        )
        self.axes: Axes = self.figure.add_subplot()
        self.axes.spines[:].set_visible(False)
        self.axes.grid(axis="y", color=PALETTE["line"], linewidth=1)
        self.axes.set_axisbelow(True)
        self.axes.tick_params(which="both", length=0, labelcolor=PALETTE["soft"], pad=6)
        self._titles: dict[str, str] = {}

    def name(self, artist: Artist, title: str) -> None:
        """Say what a mark stands for, to be shown where a reader points at it."""
        key = f"mark{len(self._titles)}"
        artist.set_gid(key)
        self._titles[key] = printable(title)

    def pixels(self, x: int | float, y: int | float) -> tuple[float, float]:
        """Return where a point of the axes lies in the picture, from its lower left corner."""
        across, up = self.axes.transData.transform((x, y))
        return float(across), float(up)

    def text(self, x: int | float, y: int | float, words: str, colour: str) -> None:
        """Write words beside a place in the picture, as `pixels` gives it."""
        place, look = (x / self.width, y / self.height), PALETTE[colour]
        self.figure.text(*place, printable(words), color=look, va="center_baseline")

    def markup(self, alt: str, name: str, look: str = "chart") -> Markup:
        """Finish the chart.

        Args:
            alt: What the picture shows, for those who do not see it.
            name: What tells it from the other charts of the page: letters, digits and hyphens.
            look: Its class in the page.

        Returns:
            An SVG element, the same for the same chart.
        """
        buffer = io.StringIO()
        with catch_warnings():
            # The page's reader has fonts of its own.
            filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
            self.figure.savefig(buffer, format="svg", metadata=_METADATA, transparent=True)
        root = ET.fromstring(buffer.getvalue())
        alt = printable(alt, _LONG)
        attributes = {"viewBox": f"0 0 {self.width} {self.height}", "class": look}
        attributes |= {"role": "img", "aria-label": alt}
        picture = ET.Element("svg", attributes)
        ET.SubElement(picture, "title").text = alt
        picture.extend(child for child in map(_plain, root) if child is not None)
        _name_marks(picture, self._titles)
        _prefix(picture, name)
        return Markup(ET.tostring(picture, encoding="unicode"))


@contextmanager
def draw_plainly() -> Iterator[None]:
    """Draw charts in here: their style is matplotlib's own, not that of its user."""
    with matplotlib.style.context(["default", _RC]):
        yield


def _plain(element: ET.Element) -> ET.Element | None:
    """Return an element without namespaces, in few characters and with the page's colours."""
    kind = element.tag.rpartition("}")[2]
    if kind in ("metadata", "style"):
        return None
    plain = ET.Element(kind)
    for key, value in element.attrib.items():
        key = "href" if key == _XLINK else key
        plain.set(key, _short(value) if key in _NUMBERS else value)
    if plain.get("transform", "").startswith("rotate(-0 "):
        del plain.attrib["transform"]
    if style := plain.get("style"):
        plain.set("style", _restyle(style))
    plain.text = element.text if kind == "text" else None
    plain.extend(child for child in map(_plain, element) if child is not None)
    _share(plain)
    return plain if len(plain) or kind not in ("g", "defs") else None


def _short(value: str) -> str:
    """Round numbers to hundredths of a pixel."""
    value = re.sub(r"-?\d+\.\d{3,}", _rounded, value)
    return " ".join(value.split())


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _restyle(style: str) -> str:
    """Take colours from the style sheet, and the font from the page."""
    style = re.sub(r"#\w{6}", lambda match: _VARIABLES.get(match[0], match[0]), style)
    style = re.sub(r"font-family: [^;]*;? *", "", style)
    style = re.sub(r"font: (\d{3} )?([\d.]+px) [^;]*", r"font-weight: \1; font-size: \2", style)
    style = style.replace("font-weight: ; ", "")
    return style.replace("; ", ";").replace(": ", ":")


def _share(parent: ET.Element) -> None:
    """Move the style that all children have alike to their parent."""
    styles = {child.get("style") for child in parent}
    if len(parent) > 2 and len(styles) == 1 and (style := styles.pop()) and not parent.get("style"):
        parent.set("style", style)
        for child in parent:
            del child.attrib["style"]


def _name_marks(picture: ET.Element, titles: dict[str, str]) -> None:
    for element in picture.iter():
        if (title := titles.get(element.get("id", ""))) is not None:
            element.set("class", "mark")
            shown = ET.Element("title")
            shown.text = title
            element.insert(0, shown)


def _prefix(picture: ET.Element, name: str) -> None:
    """Keep the identifiers that are referred to, and make them the picture's own."""
    text = ET.tostring(picture, encoding="unicode")
    used = set(re.findall(r"#([\w-]+)[\")]", text))
    for element in picture.iter():
        if (own := element.get("id")) is not None:
            element.attrib.pop("id")
            if own in used:
                element.set("id", f"{name}-{own}")
        for key in ("href", "clip-path"):
            if key in element.attrib:
                element.set(key, element.attrib[key].replace("#", f"#{name}-"))
