"""What every exporter writes with: templates, numbers as text, and whole files."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..files import write


def template(name: str) -> str:
    """Read a template that ships with the package."""
    return (files("samplerzoo.exporters") / "templates" / name).read_text()


def write_texts(folder: Path, texts: dict[str, str]) -> list[Path]:
    """Write files into a folder, made where it is not there, and return their paths."""
    written = []
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, text.encode())
        written.append(path)
    return written


def to_json(content: Any) -> str:
    """Write JSON with lists of numbers on one line each."""
    text = json.dumps(content, indent=2, allow_nan=False)
    number_lists = re.compile(r"\[\s+([^\[\]{}\"]*?)\s+\]")
    return number_lists.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"
