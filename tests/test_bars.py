"""Progress: a bar on a terminal, lines elsewhere."""

import io
import sys

import pytest

from samplerzoo.runs.bars import note, progress_bar


def advance(brief: bool = False, shown: bool = True) -> None:
    with progress_bar(3, "search", shown, brief=brief) as bar:
        for _ in range(3):
            bar.set_postfix(KID="0.1", refresh=False)
            bar.update()


def test_no_bar_in_a_file(monkeypatch):
    """Nor what moves the cursor: every state is a line."""
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    advance()
    note("a note")
    lines = file.getvalue().splitlines()
    assert lines[0].startswith("search: 0%, 0 of 3, ")
    assert lines[-2].startswith("search: 100%, 3 of 3, ")
    assert lines[-2].endswith("KID=0.1")
    assert lines[-1] == "a note"
    assert file.getvalue().isascii()
    assert not set(file.getvalue()) & set("\r\x1b|#")


@pytest.mark.parametrize("brief", [True, False])
def test_a_terminal_has_a_bar(monkeypatch, brief):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    advance(brief)
    assert ("\r" in terminal.getvalue()) is not brief


def test_nothing_is_shown_where_nothing_shall_be(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    advance(shown=False)
    advance(brief=True)
    assert file.getvalue() == ""
