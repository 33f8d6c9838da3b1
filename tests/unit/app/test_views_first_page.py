"""The first page answers an operator's questions in words, with and without figures, and stays valid HTML."""

from __future__ import annotations

import re

import pytest

from metroline.agents.pulses.line_state import LineState
from metroline.agents.pulses.live_state import LiveEvent, LiveState
from metroline.agents.pulses.pulse import (
    EndedSum,
    OutcomeSum,
    PartitionSum,
    PlaceFigures,
    Pulse,
    RuleSum,
    ScheduleSum,
    TrackSum,
)
from metroline.app.markup.html import tag
from metroline.app.operations.journal import JournalEntry
from metroline.app.views.anchors import rule_id
from metroline.app.views.figures import FORMS, NONE, TIMED_FORMS
from metroline.app.views.first_page import first_page
from metroline.app.views.line_picture import LEAST_SCALE, SCREENS
from metroline.app.views.live import with_journal
from metroline.routing.rules.table import RulesTable
from tests.support.chains import chain
from tests.support.html_reader import HtmlReader
from tests.support.project import ROOT

NOW = 1_000_000.0
ACCESS = tag("p", "You may do all of this.")
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
    html = first_page(found, table, 3, (), {"role": "all"}, ACCESS, found.at)
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


def two_workers(late: str) -> HtmlReader:
    """Return the page of a line of two workers, one of which is five seconds late."""
    parts = {"entry": ("arrivals", "on-ramp", "router"), "weigh": ("service:weigh",)}
    state = LineState("depot")
    for step in range(7):
        for worker, roles in parts.items():
            if worker != late or step < 2:
                state.observe(pulse(step, worker, parts=roles), NOW + step)
    return page(state.snapshot(NOW + 6.5))


def stale_marks(read: HtmlReader) -> set[tuple[str | None, str | None]]:
    """Return the groups and owners of the figures that look stale."""
    marks = [own for _, own in read.elements if "data-form" in own and "data-stale" in own]
    return {(own.get("data-group"), own.get("data-of")) for own in marks}


def test_only_figures_of_a_worker_that_is_late_look_stale() -> None:
    assert stale_marks(page(state(*(pulse(step) for step in range(7))))) == set()
    late = two_workers("weigh")
    line = {(None, None), ("sums", None)}
    assert stale_marks(late) == {*line, ("places", "service.weigh")}, "the source, tracks and rules are told by another"
    assert "since 13:46:41" in late.words
    assert late.words.count("Out of date since 13:46:41 UTC.") == 3, "below the tiles, the sums and the chart"
    assert late.attributes("tr", "data-stale") == [""]
    late = two_workers("entry")
    owners = {(group, of) for group, of in stale_marks(late) if group not in ("tracks", "rules")}
    assert owners == {*line, ("places", "source")}
    assert {group for group, _ in stale_marks(late)} == {None, "sums", "places", "tracks", "rules"}


def test_a_screen_reader_hears_of_the_level_and_kind_of_the_verdict_alone() -> None:
    def heard(found: LiveState) -> list[str]:
        html = first_page(found, RulesTable.parse(RULES), 3, (), {}, ACCESS, found.at)
        return re.findall(r'<\w+ role="status"[^>]*>([^<]*)</', html)

    fast, slow = (state(*(pulse(step, entered=rate * step) for step in range(7))) for rate in (2_000, 10))
    assert fast.verdict.text != slow.verdict.text
    assert heard(fast) == heard(slow) == ["Verdict: good, all is well."]
    failing = [pulse(step, outcomes=(OutcomeSum("dead", "weigh", "timeout", step),)) for step in range(7)]
    assert heard(state(*failing)) == ["Verdict: notice, records fail."]
    assert heard(state()) == ["Verdict: bad, figures are missing or out of date."]


def test_the_map_has_what_was_retried_dropped_and_dead_at_a_stop_if_anything_was() -> None:
    def at_stop(**more: object) -> str:
        html = first_page(state(pulse(0, "one", **more)), RulesTable.parse(RULES), 3, (), {}, ACCESS, NOW)
        texts = re.findall(r'<tspan data-figure="(?:|retries)" data-form="(?:losses|retries)"[^>]*>([^<]+)<', html)
        return ", ".join(dict.fromkeys(texts))

    assert at_stop(outcomes=()) == ""
    outcomes = (OutcomeSum("dead", "weigh", "timeout", 7), OutcomeSum("dropped", "weigh", "", 12_345))
    places = {"service.weigh": PlaceFigures(retries=3)}
    assert at_stop(outcomes=outcomes, places=places) == "✕ 7 dead · 12k dropped, 3 retries"


def test_the_page_says_what_can_be_done() -> None:
    read = page(state(pulse(0)))
    assert {"/rules/", "/dead-letters/", "/compare/"} <= set(read.attributes("a", "href"))
    assert "Change the rules : version 3 is in use" in read.words
    assert "Put dead letters right : 7 records ended as dead letters" in read.words
    assert "You may do all of this." in read.words


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb` or `#rgb`, as WCAG 2 defines it."""
    digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("path", ["app/views/page.css", "app/line_map/map.css"])
def test_stale_figures_have_the_contrast_of_text(path: str) -> None:
    style = (STATIC / "first_page.css").read_text("utf-8")
    assert "[data-form][data-stale], tr[data-stale] td { color: var(--dropped);" in style
    assert "opacity" not in style
    colours = re.findall(r"--(dropped|card|paper): #(\w+)", (ROOT / path).read_text("utf-8"))
    themes = [[colour for name, colour in colours if name == wanted] for wanted in ("dropped", "card", "paper")]
    assert len(themes[0]) == len(themes[1]) == 2, "light and dark"
    for theme in (0, 1):
        for ground in themes[1:]:
            if ground:
                darker, lighter = sorted((luminance(themes[0][theme]), luminance(ground[theme])))
                assert (lighter + 0.05) / (darker + 0.05) >= 4.5


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
    assert known == {*FORMS, *TIMED_FORMS}


@pytest.mark.parametrize(
    ("stops", "shown_from", "forms"),
    [
        (2, "map from-800", ["wide-map", "turned-map"]),
        (5, "map from-1400", ["wide-map", "turned-map"]),
        (40, "map", ["turned-map"]),
    ],
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


def test_each_schedule_has_a_row_with_its_ticks_and_a_link_to_its_last_run() -> None:
    nightly = ScheduleSum("nightly", 1_000, 990, 6, 4, 600_000.0, 700_020.0, "completed")
    fresh = ScheduleSum("weekly", 0, 0, 0, 0, None, NOW + 3_600)
    read = page(state(pulse(1, schedules=(nightly, fresh))))
    for words in (
        "nightly 1970-01-09 02:27:00 UTC 1970-01-07 22:40:00 UTC completed 1,000 990 6 4",
        f"weekly 1970-01-12 14:46:40 UTC {NONE} 0 0 0 0",
        "1,130 sent ( 1,000 of them by schedules) = 1,090 delivered + 26 dropped + 11 dead + 0 lost + 3 under way",
    ):
        assert words in read.words
    assert ("a", "/journeys/schedule.nightly-0-10000") in [(name, found.get("href")) for name, found in read.elements]
    assert "schedules" not in page(state(pulse(1))).words.lower()


def test_each_start_of_a_worker_is_told_once_though_it_started_before_too() -> None:
    text = "http://one:6066 started (all)"
    pulses = [LiveEvent(NOW, "joined", text), LiveEvent(NOW - 200, "joined", text)]
    notes = [
        JournalEntry(NOW - 1, "joined", text),
        JournalEntry(NOW - 203, "joined", text),
        JournalEntry(1.0, "job", "a"),
    ]
    assert [event.at for event in with_journal(pulses, notes)] == [NOW, NOW - 200, 1.0]
