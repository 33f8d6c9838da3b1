"""The script of the first page writes each figure as the worker that serves the page does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from typing import Any

import msgspec
import pytest

from metroline.agents.pulses.line_state import LineState
from metroline.agents.pulses.live_state import LiveState
from metroline.agents.pulses.pulse import OutcomeSum, PlaceFigures, Pulse, RuleSum, TrackSum
from metroline.app.markup.html import Markup
from metroline.app.views.figures import FORMS, NONE, TIMED_FORMS
from metroline.app.views.first_page import first_page
from metroline.routing.rules.table import RulesTable
from tests.support.brokers import unavailable
from tests.support.project import ROOT

AT = 1_764_331_387.25
"""A time in the day, in seconds since the epoch."""

DAY = 86_400.0

SHARES = (0.0, 0.004, 0.005, 0.125, 0.145, 0.499, 0.5, 0.995, 1.0)
RATES = (0.0, 0.04, 0.05, 0.25, 0.35, 1.0, 9.94, 9.95, 9.99, 10.0, 10.5, 11.5, 999.5, 2_500.5, 1_234_567.0)
TIMES = (0.0, 0.0004, 0.0005, 0.0025, 0.0994, 0.0995, 0.1, 0.25, 0.35, 9.949, 9.95, 9.99, 10.0, 12.5, 59.5, 119.4)
LONG_TIMES = (119.5, 120.0, 150.0, 3_570.0, 7_199.0, 7_200.0, 9_000.0, 12_600.0, DAY, 1_000 * DAY)
COUNTS = (0, 1, 999, 1_000, 1_999, 12_345, 999_999, 1_000_000, 1_234_567_890)


def place(trend: str = "steady", **figures: Any) -> dict[str, Any]:
    return {"trend": trend, "since": None, "caught_up_in": None, "dead": 0, "dropped": 0} | figures


def told(age: float | None, is_stale: bool) -> dict[str, Any]:
    return {"age": age, "is_stale": is_stale}


PLACES = [
    place("nothing waits"),
    place(since=AT - 60, dead=7),
    place("growing", since=AT - 3_600.5, dropped=12_345),
    place("draining", since=AT - DAY, caught_up_in=42.5, dead=1_000, dropped=999_999),
    place("draining", caught_up_in=0.25),
]
AGES = [told(0.25, is_stale=False), told(3.5, is_stale=True), told(11.75, is_stale=True)]

VALUES: dict[str, list[Any]] = {
    "count": [*COUNTS],
    "rate": [*RATES],
    "seconds": [*TIMES, *LONG_TIMES],
    "sign": PLACES,
    "age": AGES,
    "losses": PLACES,
    "retries": [*COUNTS],
    "share": [*SHARES],
    "train": [*SHARES],
    "text": ["", "signpost", "<b>&"],
    "time": [0.0, 1_772_355_000.0, 1_772_355_059.999],
    "trend": PLACES,
    "since": [*AGES, told(None, is_stale=True)],
    "stale": [*AGES, told(None, is_stale=True)],
}
"""Values of each form, those among them that are halfway between two texts."""

RULES = """
[[rules]]
name = "all are weighed"
after = "source"
to = "weigh"
"""

ELEMENT = """(attributes) => ({
  dataset: attributes, textContent: "", isStale: false,
  toggleAttribute(name, on) { this.isStale = on; },
})"""


def run(program: str, given: object) -> Any:
    """Return what a program that follows the script prints, as JSON. It finds what is given as `given`."""
    node = shutil.which("node") or unavailable("Node.js (nodejs) is not installed; it runs the scripts of the pages")
    script = (ROOT / "app" / "views" / "static" / "figures.js").read_text("utf-8")
    text = f"{script}\nconst given = {json.dumps(given)};\nconsole.log(JSON.stringify({program}));"
    ended = subprocess.run(
        [node, "--input-type=module", "-"], input=text.encode(), capture_output=True, check=True, timeout=60
    )
    return json.loads(ended.stdout)


def test_values_have_one_text() -> None:
    assert VALUES.keys() == {*FORMS, *TIMED_FORMS}
    cases = [(form, value) for form, values in VALUES.items() for value in values]
    found = run("given.map(([form, value, at]) => FORMS[form](value, 0, at))", [(*case, AT) for case in cases])
    served = [TIMED_FORMS[form](value, AT) if form in TIMED_FORMS else FORMS[form](value) for form, value in cases]
    assert [(*case, text) for case, text in zip(cases, found, strict=True)] == [
        (*case, text) for case, text in zip(cases, served, strict=True)
    ]


def pulse(at: float, worker: str, parts: tuple[str, ...], step: int) -> Pulse:
    return Pulse(
        worker,
        f"http://{worker}:6066",
        f"depot@{worker}",
        parts,
        "signpost",
        3,
        AT - 100,
        at,
        entered=7 * step,
        places={
            "source": PlaceFigures(messages=step, records=7 * step),
            "service.weigh": PlaceFigures(waiting=5_000, oldest=90.5, since=AT - DAY, retries=12_345, chained=step),
        },
        outcomes=(OutcomeSum("dead", "weigh", "timeout", step), OutcomeSum("dropped", "weigh", "", step)),
        tracks=(TrackSum("source", "weigh", False, 7 * step),),
        rules=(RuleSum("all are weighed", 7 * step),),
    )


def line(seconds_of_weigh: int) -> LiveState:
    """Return the state of a line of which one worker has told figures for this long, and the other one for 10 s."""
    state = LineState("depot")
    for step in range(11):
        at = AT - 10 + step
        state.observe(pulse(at, "entry", ("arrivals", "on-ramp"), step), at)
        if step <= seconds_of_weigh:
            state.observe(pulse(at, "weigh", ("service:weigh",), step), at)
    return state.snapshot(AT + 0.5)


def marks_of(state: LiveState) -> list[tuple[dict[str, str], str, bool]]:
    """Return the data of each figure on a page, its text, and whether it looks stale."""
    html = first_page(state, RulesTable.parse(RULES), 3, (), {}, Markup(), AT)
    marks = re.findall(r"<\w+ ([^>]*data-form=[^>]*)>([^<]*)</", html)
    names = r'data-(figure|form|group|of)="([^"]*)"'
    return [(dict(re.findall(names, unescape(own))), unescape(text), "data-stale" in own) for own, text in marks]


def written(state: LiveState, marks: list[dict[str, str]], elapsed: float) -> list[list[Any]]:
    """Return the text that the script gives to each figure, and whether it looks stale, some seconds later."""
    program = f"""(() => {{
      const elements = given.marks.map({ELEMENT});
      write({{ querySelectorAll: () => elements }}, indexed(given.state), {elapsed});
      return elements.map((one) => [one.textContent, one.isStale]);
    }})()"""
    found: list[list[Any]] = run(program, {"state": json.loads(msgspec.json.encode(state)), "marks": marks})
    return found


STATES = {"unknown": LineState("depot").snapshot(AT), "fresh": line(10), "late": line(5)}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_whole_page_is_written_as_it_was_served(state: LiveState) -> None:
    marks = marks_of(state)
    assert len(marks) > 50
    given = [own for own, *_ in marks]
    found = written(state, given, 0.0)
    assert [(own, *told) for own, told in zip(given, found, strict=True)] == marks


def test_sums_that_nobody_has_told_are_not_said_to_be_none() -> None:
    marks = [(own, text) for own, text, _ in marks_of(STATES["unknown"]) if own.get("group") == "sums"]
    found = {own["figure"]: text for own, text in marks if own["form"] == "count"}
    assert found == dict.fromkeys(("sent", "delivered", "dropped", "dead", "lost", "under_way", "unaccounted"), NONE)


def test_every_figure_gets_old_while_nothing_comes() -> None:
    marks = [own for own, *_ in marks_of(line(10))]
    found = written(line(10), marks, 60.0)
    assert all(is_stale for _, is_stale in found)
    texts = {own["form"]: text for own, (text, _) in zip(marks, found, strict=True)}
    assert texts["since"] == "Out of date since 12:03:07 UTC.", "though a minute has passed since then"
    assert texts["stale"] == "since 12:03:07"
    assert texts["age"] == "61 s ago, out of date"
