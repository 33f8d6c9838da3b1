"""Progress is a line every ten seconds where there is no terminal, and colours are off where they are not wanted."""

from __future__ import annotations

import io

import pytest
from rich.progress import MofNCompleteColumn

from metroline.app.cli.console import safe_console
from metroline.app.cli.progress import lines_of_progress, progress_bars


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_there_is_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    report = lines_of_progress(clock)
    for second in range(26):
        clock.now = 100.0 + second
        report("sending", 1_000 * second, 50_000 if second < 20 else 0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "sending: 10,000 of 50,000 (20 %), after 10 s",
        "sending: 20,000, after 20 s",
    ]


def test_what_is_done_at_once_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars(safe_console(stderr=True), MofNCompleteColumn()) as report:
        report("sending", 1, 1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("variables", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_turns_colours_off(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_coloured: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    console = safe_console()
    console.file = io.StringIO()
    console.print("different", style="red")
    assert ("\x1b[31m" in console.file.getvalue()) is is_coloured
