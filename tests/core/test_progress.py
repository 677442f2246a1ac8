"""A bar for people, silence for pipes."""

import io
import sys

import pytest

from archaeology.core.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_silent_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("looking at heads", 3) as advance:
        advance()
        advance(2, note="done")
    assert capfd.readouterr() == ("", "")


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress("looking at heads", 3) as advance:
        advance(2, note="layer 5")
    shown = terminal.getvalue()
    assert "looking at heads" in shown and "2/3" in shown and "layer 5" in shown
    assert capfd.readouterr().out == ""  # stdout belongs to the results


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_errors_pass_through(monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    with pytest.raises(ZeroDivisionError), progress("dividing") as advance:
        advance()
        _ = 1 / 0
