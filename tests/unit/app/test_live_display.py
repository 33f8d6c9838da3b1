"""`metroline up --json` writes an object for each event; a terminal has lines."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from metroline.app.cli.json_lines import JsonLines
from metroline.app.cli.live.display import JsonDisplay, displays
from metroline.app.cli.live.events import Counts, Ended, Output, Problem
from metroline.app.cli.options import UnwritableFile


class Clock:
    now = 7.0

    def __call__(self) -> float:
        return self.now


def read(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_event_is_an_object_in_a_line_of_its_own_with_its_time() -> None:
    stream = io.StringIO()
    display = JsonDisplay(JsonLines(stream), Clock())
    display.tell(Output("price", "one\x1b[31m\u2028two", "log"))
    display.tell(Ended(Counts(3, 2, 1, 5), "the broker died"))
    assert stream.getvalue().isascii()
    assert read(stream.getvalue()) == [
        {"event": "output", "stop": "price", "text": "one\x1b[31m\u2028two", "log": "log", "at": 7.0},
        {
            "event": "ended",
            "delivered": 3,
            "dropped": 2,
            "dead": 1,
            "scheduled": 0,
            "retries": 5,
            "error": "the broker died",
            "at": 7.0,
        },
    ]


def test_counts_are_written_if_they_have_changed() -> None:
    stream = io.StringIO()
    display = JsonDisplay(JsonLines(stream), Clock())
    for counts in (Counts(1), Counts(1), Counts(1, lag="the line has caught up"), Counts(2)):
        display.tell(counts)
    assert [one["delivered"] for one in read(stream.getvalue())] == [1, 2]


def test_the_standard_output_has_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with displays(Path("-")) as display:
        display.tell(Problem("warning", "odd"))
    assert [one["event"] for one in read(capsys.readouterr().out)] == ["problem"]


def test_with_a_file_people_see_the_events_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with displays(tmp_path / "events") as display:
        display.tell(Problem("warning", "odd"))
        assert [one["text"] for one in read((tmp_path / "events").read_text())] == ["odd"], "at once"
    assert capsys.readouterr().out == "warning: odd\n"


def test_a_file_that_cannot_be_written_is_one_line() -> None:
    with (
        pytest.raises(UnwritableFile, match="--json: /no/such/file cannot be written: No such file"),
        displays(Path("/no/such/file")),
    ):
        pass
