"""The first page answers an operator's questions in words, with and without figures, and stays valid HTML."""

from __future__ import annotations

import re

import pytest

from metroline.agents.pulses.line_state import LineState
from metroline.agents.pulses.live_state import LiveState
from metroline.agents.pulses.pulse import (
    EndedSum,
    OutcomeSum,
    PartitionSum,
    PlaceFigures,
    Pulse,
    RuleSum,
    TrackSum,
)
from metroline.app.views.anchors import rule_id
from metroline.app.views.figures import FORMS
from metroline.app.views.first_page import first_page
from metroline.app.views.line_picture import LEAST_SCALE, SCREENS
from metroline.routing.rules.table import RulesTable
from tests.support.chains import chain
from tests.support.html_reader import HtmlReader
from tests.support.project import ROOT

NOW = 1_000_000.0
EVIL = "<script>alert(1)</script>"
STATIC = ROOT / "app" / "views" / "static"

RULES = """
[[rules]]
name = "all are weighed"
after = "source"
to = "weigh"

[[rules]]
name = "heavy ones"
after = "weigh"
match = { heavy = true }
to = "end"

[[rules]]
name = "others are not kept"
after = "weigh"
drop = "too light"
"""


def pulse(step: int, worker: str = "one", **more: object) -> Pulse:
    told: dict[str, object] = {
        "worker": worker,
        "url": f"http://{worker}:6066",
        "group": "depot@all",
        "parts": ("arrivals", "on-ramp", "router", "service:weigh"),
        "strategy": "signpost",
        "version": 3,
        "started": NOW - 100,
        "at": NOW + step,
        "code": "c0de",
        "entered": 2_000 * step,
        "places": {
            "source": PlaceFigures(messages=100, records=200),
            "service.weigh": PlaceFigures(waiting=5, messages=10, records=50, oldest=0.8, handled=10 * step),
        },
        "outcomes": (
            OutcomeSum("delivered", "weigh", "", 1_500 * step),
            OutcomeSum("dropped", "weigh", "", 400 * step),
            OutcomeSum("dead", "weigh", "service_error", 7),
        ),
        "tracks": (
            TrackSum("source", "weigh", False, 2_000 * step),
            TrackSum("weigh", "delivered", True, 1_500 * step),
        ),
        "rules": (RuleSum("heavy ones", 1_500 * step),),
        "sent": (PartitionSum(0, 130, 0),),
        "ended": (EndedSum(0, 100, 20, 7, 0),),
    }
    return Pulse(**told | more)  # type: ignore[arg-type]


def state(*pulses: Pulse, later: float = 0.5) -> LiveState:
    line = LineState("depot")
    for one in pulses:
        line.observe(one, one.at)
    return line.snapshot(max((one.at for one in pulses), default=NOW) + later)


def page(found: LiveState, rules: str | None = RULES) -> HtmlReader:
    table = RulesTable.parse(rules) if rules is not None else None
    html = first_page(found, table, 3, (), {"role": "all"}, found.at)
    assert "<script" not in html
    return HtmlReader(f"<html><body>{html}</body></html>")


def test_a_line_that_runs_is_told_in_words() -> None:
    read = page(state(*(pulse(step) for step in range(7))))
    assert read.open == []
    for words in (
        "✓ All trains run. 2,000 records/s in, 1,900/s out, nothing waits longer than 0.8 s.",
        "the oldest told 0.5 s ago",
        "records in 2,000/s delivered 1,500/s dropped 400/s dead letters 0/s longest wait 0.8 s",
        "Rules of version 3 , strategy signpost",
        "25 wait · 0.8 s",
        "all are weighed always → to weigh; held 0 times",
        "heavy ones heavy = true → to end; held 9,000 times, 1,500/s",
        "others are not kept always → dropped: too light",
        "7 dead letters: service_error, 0/s",
        "130 sent = 100 delivered + 20 dropped + 7 dead + 0 lost + 3 under way",
        "0 records are missing",
        "http://one:6066 depot@all arrivals, on-ramp, router, service:weigh signpost 3 c0de no 2,000/s 1,900/s",
        "http://one:6066 started (all)",
    ):
        assert re.sub(r"\W+", " ", words) in re.sub(r"\W+", " ", read.words), words


def test_the_chart_of_an_idle_line_does_not_make_up_a_record() -> None:
    read = page(state(*(pulse(step, entered=0, outcomes=()) for step in range(7))))
    assert "up to 0/s" in read.words


def test_what_is_out_of_date_says_so() -> None:
    read = page(state(*(pulse(step) for step in range(7)), later=5.0))
    assert "✕ http://one:6066 has told nothing for 5.0 s: figures are out of date." in read.words
    assert "5.0 s ago, out of date" in read.words
    assert "out of date, 5.0 s ago" in read.words


def test_a_line_of_which_nothing_is_known_has_a_page() -> None:
    read = page(state(), rules=None)
    assert "No worker has told its figures" in read.words
    assert "There is no rules table yet" in read.words
    assert "\N{EN DASH} sent" in read.words
    read = page(state())
    assert "all are weighed" in read.words


def test_what_workers_tell_stays_text() -> None:
    evil = pulse(
        1,
        url=f"http://{EVIL}",
        group=EVIL,
        strategy=EVIL,
        code=EVIL,
        problems=(EVIL,),
        outcomes=(OutcomeSum("dead", "weigh", EVIL, 3),),
        rules=(RuleSum(EVIL, 3),),
        places={"service.weigh": PlaceFigures(paused=EVIL)},
    )
    assert EVIL in page(state(pulse(0), evil), RULES.replace("heavy ones", EVIL)).words


def test_every_anchor_leads_somewhere() -> None:
    read = page(state(pulse(0)))
    ids = {*read.attributes("section", "id"), *read.attributes("div", "id")}
    anchors = {href[1:] for href in read.attributes("a", "href") if href and href.startswith("#")}
    assert anchors <= ids
    assert {"stop-source", "stop-weigh"} <= anchors


def test_a_stop_leads_to_its_rules_its_journeys_and_its_dead_letters() -> None:
    read = page(state(pulse(0)))
    links = set(read.attributes("a", "href"))
    assert {
        "/rules/#rule-heavy.20ones",
        "/rules/#rule-all.20are.20weighed",
        "/journeys/?stop=weigh",
        "/journeys/",
        "/dead-letters/?stop=weigh",
        "/dead-letters/?stop=weigh&kind=service_error",
    } <= links
    assert "reads heavy" in read.words


def test_the_page_has_a_search_for_records() -> None:
    read = page(state(pulse(0)))
    assert read.attributes("form", "action") == ["/journeys/"]
    assert "find" in read.attributes("input", "name")


def test_stops_to_which_records_come_in_memory_are_drawn_as_one_train() -> None:
    def shown(chained: int) -> list[str | None]:
        places = {"service.weigh": PlaceFigures(messages=10, records=100 * 1, chained=chained)}
        later = {"service.weigh": PlaceFigures(messages=20, records=150, chained=2 * chained)}
        read = page(state(pulse(0, places=places), pulse(1, places=later)))
        trains = [own for element, own in read.elements if element == "g" and own.get("class") == "train"]
        assert {own.get("data-of") for own in trains} == {"service.weigh"}
        return [own.get("data-on", "off") for own in trains]

    assert set(shown(200)) == {""}
    assert set(shown(10)) == {"off"}


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("all", "rule-all"),
        ("a b", "rule-a.20b"),
        ("a.20b", "rule-a.2E20b"),
        ("größe <1>", "rule-gr.C3.B6.C3.9Fe.20.3C1.3E"),
    ],
)
def test_ids_of_rules_are_different_and_fit_into_links(name: str, id: str) -> None:
    assert rule_id(name) == id


def test_the_script_knows_every_form_of_a_figure() -> None:
    script = (STATIC / "figures.js").read_text("utf-8")
    forms = script.partition("const FORMS = {")[2].partition("\n};")[0]
    known = set(re.findall(r"^  (\w+)[,:]", forms, re.MULTILINE))
    assert known == set(FORMS)


@pytest.mark.parametrize(
    ("stops", "shown_from", "forms"),
    [(3, "map from-800", ["wide-map", "turned-map"]), (40, "map", ["turned-map"])],
)
def test_a_map_reads_from_left_to_right_on_screens_into_which_it_fits(
    stops: int, shown_from: str, forms: list[str]
) -> None:
    read = page(state(pulse(0)), chain(stops))
    classes = [own.get("class") or "" for element, own in read.elements if element == "div"]
    assert shown_from in classes
    assert [one for one in classes if one.endswith("-map")] == forms


def test_the_style_has_the_widths_and_the_scale_of_maps() -> None:
    style = (STATIC / "first_page.css").read_text("utf-8")
    assert f"min-width: calc(var(--natural) * {LEAST_SCALE:g})".replace("0.", ".") in style
    for screen in SCREENS:
        shown, hidden = (
            f".from-{screen} .wide-map {{ display: block; }}",
            f".from-{screen} .turned-map {{ display: none; }}",
        )
        assert f"@media (min-width: {screen}px) {{ {shown} {hidden} }}" in style


@pytest.mark.parametrize("name", ["prefers-reduced-motion", ":focus-visible", "overflow-x: auto", "max-width: 40rem"])
def test_the_style_cares_for_motion_keyboards_and_small_screens(name: str) -> None:
    assert name in (STATIC / "first_page.css").read_text("utf-8")
