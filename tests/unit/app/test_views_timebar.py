"""The bars of a timeline: on one scale, in the order in which things were, and never too short to be seen."""

from __future__ import annotations

import pytest

from metroline.app.views.journeys.bar import LEAST, WIDTH, Scale, bar
from metroline.routing.journeys.timeline import Certainty, Decided, FailedAttempt, Passage
from tests.support.html_reader import HtmlReader

DECIDED = Decided("x", None, None, None, Certainty.NONE)


def parts(place: Passage, scale: Scale) -> list[tuple[str | None, float, float]]:
    """Return the kind, the beginning and the width of each part of a bar."""
    return [
        (own["class"], float(own["x"] or 0), float(own["width"] or 0))
        for element, own in HtmlReader(bar(place, scale)).elements
        if element == "rect"
    ]


def test_a_bar_shows_when_the_record_waited_and_when_it_was_worked_on() -> None:
    failed = [FailedAttempt(125.0, "x"), FailedAttempt(None, "y")]
    place = Passage("a", 110.0, 150.0, 30.0, 10.0, DECIDED, failed)
    assert parts(place, Scale(100.0, 200.0)) == [("wait", 100, 300), ("work", 400, 100), ("failed", 250, LEAST)]


def test_a_bar_without_the_time_of_work_shows_when_the_record_was_there() -> None:
    assert parts(Passage("a", 110.0, 150.0, None, None, DECIDED), Scale(100.0, 200.0)) == [("here", 100, 400)]


def test_the_bar_of_the_source_shows_that_the_record_waited() -> None:
    assert parts(Passage("source", 110.0, 150.0, 40.0, None, DECIDED), Scale(100.0, 200.0)) == [("wait", 100, 400)]


@pytest.mark.parametrize("scale", [Scale(100.0, 100.0), Scale(100.0, 1e9), Scale(0.0, 200.0)])
def test_the_shortest_part_is_seen_and_no_part_leaves_the_bar(scale: Scale) -> None:
    place = Passage("a", 200.0, 200.0, 0.0, 0.0, DECIDED, [FailedAttempt(300.0, "x")])
    for _, begin, width in parts(place, scale):
        assert width >= LEAST
        assert 0 <= begin <= WIDTH - width + 1e-6
