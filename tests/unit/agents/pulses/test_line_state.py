"""The state of a line is the sum of its workers' pulses, and says of each figure how old it is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from metroline.agents.pulses.line_state import HANDOVER_SECONDS, TREND_SECONDS, LineState
from metroline.agents.pulses.live_state import Level, LiveState, Sums, Trend
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
from metroline.agents.pulses.worker_history import SILENT_SECONDS, STALE_SECONDS, percentile

NOW = 1_000_000.0
PARTS = ("arrivals", "on-ramp", "router", "service:rate")


def pulse(at: float, worker: str = "one", **figures: Any) -> Pulse:
    known: dict[str, Any] = {
        "worker": worker,
        "url": f"http://{worker}:6066",
        "group": "line@all",
        "parts": PARTS,
        "strategy": "signpost",
        "version": 1,
        "started": NOW - 100,
        "at": at,
    }
    return Pulse(**known | figures)


def seen(*pulses: Pulse, until: float | None = None, needed: Collection[str] = ()) -> LiveState:
    """Return the state after pulses that arrive when they are sent."""
    state = LineState("line")
    for one in sorted(pulses, key=lambda one: one.at):
        state.observe(one, one.at)
    return state.snapshot(until if until is not None else max(one.at for one in pulses), needed)


def steps(count: int, worker: str = "one", **rates: Any) -> list[Pulse]:
    """Return a pulse each second, of which the count of entered records grows by `entered` each time."""
    return [pulse(NOW + step, worker, entered=100 + step * rates.get("entered", 0)) for step in range(count)]


def test_rates_are_those_of_all_workers_together() -> None:
    state = seen(*steps(8, "one", entered=30), *steps(8, "two", entered=12))
    assert state.entered_per_second == 42
    assert [worker.entered_per_second for worker in state.workers] == [30, 12]
    assert not state.is_stale


def test_a_worker_that_tells_nothing_makes_figures_stale_and_later_leaves_them() -> None:
    pulses = [*steps(8, "one", entered=30), *steps(8 + 20, "two", entered=12)]
    last = NOW + 7
    fresh, stale, without = (
        seen(*(one for one in pulses if one.at <= last + later), until=last + later)
        for later in (STALE_SECONDS - 1, STALE_SECONDS + 1, SILENT_SECONDS + 1)
    )
    assert (fresh.is_stale, stale.is_stale, without.is_stale) == (False, True, False)
    assert stale.age == STALE_SECONDS + 1
    assert stale.verdict.level is Level.BAD
    assert "http://one:6066 has told nothing for 4.0 s" in stale.verdict.text
    assert without.entered_per_second == 12
    assert without.verdict.text.startswith("http://one:6066 fell silent")
    assert [(event.kind, event.at) for event in without.events if event.kind == "silent"] == [("silent", last)]


def test_before_anybody_has_told_anything_nothing_is_known() -> None:
    state = LineState("line").snapshot(NOW)
    assert state.is_stale
    assert state.age is None
    assert state.verdict.text == "No worker has told its figures: it is not known how the line is."


def test_while_nobody_tells_anything_the_figures_are_the_last_ones_and_out_of_date() -> None:
    ended = (EndedSum(0, 60, 0, 0, 0),)
    gone = [pulse(NOW + step, "gone", ended=(EndedSum(0, 9, 0, 0, 0),)) for step in range(2)]
    told = [pulse(NOW + 30 + step, entered=100 + 5 * step, ended=ended) for step in range(3)]
    state = seen(*gone, *told, until=NOW + 32 + 60)
    assert state.is_stale
    assert state.age == 60, "the worker that was silent before is left out"
    assert state.entered_per_second == 5
    assert state.sums.delivered == 60
    assert state.sums.sent is None
    assert state.verdict.level is Level.BAD
    assert state.verdict.text == "No worker has told its figures for 60 s: those below are out of date."
    assert state.verdict.more == ()
    assert [event.kind for event in state.events].count("silent") == 2


def test_workers_that_fall_silent_one_after_the_other_are_not_taken_for_some_that_others_replace() -> None:
    ended = [EndedSum(0, 60, 0, 0, 0), EndedSum(1, 40, 0, 0, 0)]
    one, two = (
        pulse(NOW + late, name, ended=(sum_,)) for late, name, sum_ in zip((0, 0.9), ("one", "two"), ended, strict=True)
    )
    state = seen(one, two, until=NOW + SILENT_SECONDS + 0.5)
    assert [worker.is_silent for worker in state.workers] == [True, False]
    assert state.sums.delivered == 100
    assert (state.verdict.text, *state.verdict.more) == (
        "http://two:6066 has told nothing for 12 s: figures are out of date.",
    )


def test_the_counts_of_a_worker_that_is_started_again_begin_anew() -> None:
    before = steps(6, entered=50)
    after = [pulse(NOW + 6 + step, entered=10 * step, started=NOW + 6) for step in range(6)]
    state = seen(*before, *after)
    assert state.entered_per_second == 10
    assert len(state.workers) == 1
    assert [event.kind for event in state.events] == ["joined", "joined"]
    repeated = LineState("line")
    for one in [*before, *after, before[-1]]:
        repeated.observe(one, max(one.at, NOW + 11))
    assert repeated.snapshot(NOW + 11).workers[0].started == NOW + 6


def test_a_worker_that_stops_leaves_at_once() -> None:
    state = seen(*steps(4, "one", entered=5), *steps(3, "two"), pulse(NOW + 3, "two", is_last=True))
    assert [worker.id for worker in state.workers] == ["one"]
    assert state.events[0].kind == "left"
    assert state.verdict.level is Level.GOOD


def test_clocks_that_differ_change_neither_ages_nor_rates() -> None:
    state = LineState("line")
    for step in range(8):
        state.observe(pulse(NOW - 3_600 + step, "slow", entered=7 * step), NOW + step + 0.2)
        state.observe(pulse(NOW + 3_600 + step, "fast", entered=5 * step), NOW + step + 0.4)
    found = state.snapshot(NOW + 7.5)
    assert found.entered_per_second == 12
    assert [round(worker.age, 1) for worker in found.workers] == [0.1, 0.3]
    assert found.workers[0].started == found.workers[1].started + 7_200.2 - 0.4 or not found.is_stale


def test_what_was_told_before_somebody_looked_is_as_old_as_it_is() -> None:
    state = LineState("line")
    for step in range(5):
        state.observe(pulse(NOW + step, entered=step), NOW + 60, is_live=False)
    found = state.snapshot(NOW + 60)
    assert found.workers[0].is_silent, "though its pulses were read just now"
    assert found.age == 56


def place(**figures: Any) -> dict[str, PlaceFigures]:
    return {"service.rate": PlaceFigures(**figures)}


def test_what_waits_is_counted_in_records_over_all_workers() -> None:
    state = seen(
        pulse(NOW, "one", places=place(waiting=3, messages=10, records=200, oldest=0.5)),
        pulse(NOW, "two", places=place(waiting=1, messages=10, records=0, oldest=1.5)),
    )
    found = state.places["service.rate"]
    assert (found.waiting_messages, found.waiting, found.oldest, found.workers) == (4, 40, 1.5, 2)


def trend(*waiting: int) -> tuple[LiveState, Trend, float | None]:
    pulses = [
        pulse(NOW + step, places=place(waiting=count, messages=1, records=1)) for step, count in enumerate(waiting)
    ]
    state = seen(*pulses)
    return state, state.places["service.rate"].trend, state.places["service.rate"].caught_up_in


def test_what_waits_grows_drains_or_stays() -> None:
    growing, kind, _ = trend(*range(0, 1_000, 50))
    assert kind is Trend.GROWING
    assert growing.verdict.text == "950 records wait at rate for up to 0.0 s, and their number grows."
    _, kind, seconds = trend(*range(1_000, 400, -30))
    assert kind is Trend.DRAINING
    assert seconds == round((1_000 - 19 * 30) / 30, 1)
    assert trend(*[40] * TREND_SECONDS)[1:] == (Trend.STEADY, None)
    assert trend(*[0] * TREND_SECONDS)[1:] == (Trend.NOTHING, None)


def test_what_arrives_within_a_moment_does_not_pile_up() -> None:
    def busy(step: int, waiting: int) -> Pulse:
        return pulse(NOW + step, places=place(waiting=waiting, messages=1_000 * step, records=1_000 * step))

    bursts = [busy(step, 80 * step) for step in range(1, 20)]
    assert seen(*bursts).places["service.rate"].trend is Trend.STEADY
    assert seen(*bursts).verdict.level is Level.GOOD
    piling = seen(*(busy(step, 800 * step) for step in range(1, 20)))
    assert piling.places["service.rate"].trend is Trend.GROWING


HOUR = 3_600.0


def backlog(count: int, slope: int, **figures: Any) -> LiveState:
    """Return the state of which a page learns that is opened now: from the pulses of the last minutes, all old."""
    state = LineState("line")
    for step in range(-180, 1):
        told = {"waiting": count + slope * step, "messages": 1, "records": 1} | figures
        state.observe(pulse(NOW + step, places=place(**told), started=NOW - 2 * HOUR), NOW, is_live=False)
    return state.snapshot(NOW)


@pytest.mark.parametrize(
    ("slope", "trend", "course"),
    [
        (50, Trend.GROWING, "grows; rate has been behind for 60 min"),
        (-50, Trend.DRAINING, "shrinks; rate has been behind for 60 min; caught up in about 20 min"),
        (0, Trend.STEADY, "stays the same; rate has been behind for 60 min"),
    ],
)
def test_a_backlog_of_an_hour_is_that_old_as_soon_as_a_page_is_opened(slope: int, trend: Trend, course: str) -> None:
    state = backlog(60_000, slope, oldest=300.0, since=NOW - HOUR)
    found = state.places["service.rate"]
    assert (found.trend, found.since) == (trend, NOW - HOUR)
    assert state.verdict.text == f"60,000 records wait at rate for up to 5 min, and their number {course}."


def test_a_backlog_whose_age_is_not_known_is_named_all_the_same() -> None:
    state = backlog(60_000, 0, since=NOW - HOUR)
    assert state.places["service.rate"].oldest is None
    assert state.verdict.text == (
        "60,000 records wait at rate since a time that is not known, and their number stays the same; rate has been "
        "behind for 60 min."
    )
    young = backlog(60_000, 0, since=NOW - 10)
    assert young.verdict.level is Level.GOOD
    assert young.verdict.text.endswith("nothing waits longer than 0.0 s, as far as it is known.")


def test_a_worker_of_an_earlier_release_does_not_tell_since_when_it_is_behind() -> None:
    assert backlog(60_000, 0, oldest=300.0).places["service.rate"].since == NOW - 300
    assert backlog(60_000, 0, oldest=1.0).places["service.rate"].since is None


def test_the_place_of_several_workers_is_behind_since_the_first_of_them_was() -> None:
    state = LineState("line")
    clock = NOW - HOUR  # of a worker that is an hour behind
    state.observe(pulse(NOW, "one", places=place(waiting=9, oldest=9.0, since=NOW - 20)), NOW)
    state.observe(pulse(clock, "two", places=place(waiting=9, oldest=9.0, since=clock - 50)), NOW)
    state.observe(pulse(NOW, "three", places=place(waiting=1)), NOW)
    assert state.snapshot(NOW).places["service.rate"].since == NOW - 50


def test_times_at_a_stop_are_those_of_the_last_seconds() -> None:
    old = (0,) * 10 + (500,) + (0,) * 7
    new = (0,) * 6 + (100,) + (0,) * 3 + (500,) + (0,) * 7
    state = seen(*(pulse(NOW + step, places=place(times=old if step < 9 else new)) for step in range(12)))
    found = state.places["service.rate"]
    assert found.p50 is not None
    assert 0.05 <= found.p50 <= 0.1, "the 500 slow ones came before"


def test_percentiles_lie_within_their_bucket() -> None:
    assert percentile(0.5, (1.0, 2.0), [0, 0, 0]) is None
    assert percentile(0.5, (1.0, 2.0), [10, 0, 0]) == 0.5
    assert percentile(0.99, (1.0, 2.0), [0, 100, 0]) == 1.99
    assert percentile(0.99, (1.0, 2.0), [0, 0, 5]) == 2.0


def test_the_sum_holds() -> None:
    arrivals = pulse(NOW, "two", ended=(EndedSum(0, 60, 20, 5, 2), EndedSum(1, 10, 0, 0, 0)))
    state = seen(pulse(NOW, "one", sent=(PartitionSum(0, 100, 0), PartitionSum(1, 10, 0))), arrivals)
    sums = state.sums
    assert (sums.delivered, sums.dropped, sums.dead, sums.lost, sums.under_way) == (70, 20, 5, 2, 15)
    assert sums.sent == 70 + 20 + 5 + 2 + 15


def test_the_records_of_schedules_are_part_of_the_sum_and_named() -> None:
    told = {"sent": (PartitionSum(0, 100, 0),), "ended": (EndedSum(0, 60, 20, 5, 0),)}
    nightly = ScheduleSum("nightly", 4, 1, 0, 2, NOW - 60, NOW + 3_600, "dead")
    older = ScheduleSum("nightly", 3, 1, 0, 1, NOW - 3_660, NOW - 60, "")
    gone = ScheduleSum("weekly", 1, 0, 1, 0)
    state = seen(pulse(NOW, "one", schedules=(older,)), pulse(NOW, "two", schedules=(nightly, gone), **told))
    sums = state.sums
    assert (sums.sent, sums.scheduled) == (105, 5)
    assert (sums.delivered, sums.dropped, sums.dead, sums.under_way) == (61, 21, 7, 16)
    [first, second] = state.schedules
    assert (first.name, first.entered, first.result, first.next) == ("nightly", 4, "dead", NOW + 3_600)
    assert first.href == f"/journeys/schedule.nightly-0-{(NOW - 60) // 60:.0f}"
    assert (second.name, second.last, second.next, second.result, second.href) == ("weekly", None, None, "", "")
    assert state.verdict.text == "The last run of nightly is a dead letter."


def test_a_schedule_that_is_late_is_named() -> None:
    state = seen(pulse(NOW, schedules=(ScheduleSum("nightly", 3, 3, 0, 0, NOW - 86_400, NOW - 600, "completed"),)))
    assert state.verdict.level is Level.BAD
    assert state.verdict.text == "The schedule nightly has been due for 10 min, and its record did not enter."
    soon = seen(pulse(NOW, schedules=(ScheduleSum("nightly", 3, 3, 0, 0, NOW - 86_400, NOW - 60, "completed"),)))
    assert soon.verdict.level is Level.GOOD


def test_two_workers_that_tell_of_one_partition_while_it_changes_hands_count_once() -> None:
    state = seen(
        pulse(NOW, "one", sent=(PartitionSum(0, 100, 0),), ended=(EndedSum(0, 60, 0, 0, 0),)),
        pulse(NOW, "two", sent=(PartitionSum(0, 120, 0),), ended=(EndedSum(0, 80, 0, 0, 0),)),
    )
    assert (state.sums.sent, state.sums.delivered) == (120, 80)


def test_a_sum_that_cannot_be_known_is_none_and_says_why() -> None:
    ended = (EndedSum(0, 60, 0, 0, 0), EndedSum(1, 1, 0, 0, 0))
    unread = seen(pulse(NOW, sent=(PartitionSum(0, 100, 0),), ended=ended)).sums
    later = seen(pulse(NOW, sent=(PartitionSum(0, 1, 16_384), PartitionSum(1, 1, 0)), ended=ended)).sums
    for sums in (unread, later):
        assert (sums.sent, sums.under_way, sums.delivered) == (None, None, 61)
        assert sums.why_unknown
    assert unread.why_unknown != later.why_unknown


def test_tracks_failures_and_rules_are_added_up() -> None:
    def told(at: float, count: int) -> Pulse:
        return pulse(
            at,
            tracks=(TrackSum("source", "rate", False, count), TrackSum("rate", "delivered", True, count)),
            outcomes=(OutcomeSum("dead", "rate", "service_error", count), OutcomeSum("dropped", "rate", "", 3)),
            rules=(RuleSum("all", count),),
        )

    state = seen(*(told(NOW + step, 10 * step) for step in range(6)))
    assert [(one.start, one.end, one.is_end, one.per_second) for one in state.tracks] == [
        ("rate", "delivered", True, 10),
        ("source", "rate", False, 10),
    ]
    assert [(one.stop, one.cause, one.count) for one in state.failures] == [("rate", "service_error", 50)]
    assert state.rules[0].count == 50
    assert "Records fail, 10/s: service_error at rate." in (state.verdict.text, *state.verdict.more)
    assert state.dead_per_second == 10


def test_a_line_that_is_well_says_so_with_its_figures() -> None:
    pulses = [
        pulse(
            NOW + step,
            entered=2_041 * step,
            outcomes=(OutcomeSum("delivered", "rate", "", 2_040 * step),),
            places=place(waiting=1, oldest=0.8),
        )
        for step in range(8)
    ]
    verdict = seen(*pulses).verdict
    assert verdict.level is Level.GOOD
    assert verdict.text == "All trains run. 2,041 records/s in, 2,040/s out, nothing waits longer than 0.8 s."


def test_the_worst_is_said_first() -> None:
    state = seen(
        pulse(NOW, "one", version=1, code="a", unaccounted=3),
        pulse(NOW, "two", version=2, code="b", places=place(waiting=4, paused="all calls failed")),
    )
    told = (state.verdict.text, *state.verdict.more)
    assert state.verdict.level is Level.BAD
    assert told[0] == "The stop rate is paused: all calls failed."
    assert told[1] == "3 records have no outcome and are nowhere under way."
    assert told[2:] == (
        "Workers decide by different rules: versions 1, 2.",
        "Workers run different code of the line.",
    )


def test_a_stop_that_nobody_serves_is_named() -> None:
    on_ramp = ("arrivals", "on-ramp", "router")
    state = seen(pulse(NOW, parts=on_ramp, places=place(waiting=4, messages=1, records=1)))
    assert state.verdict.text == "No worker serves rate, where 4 records wait."


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("service:rate", "No worker serves rate: records that come there wait."),
        ("arrivals", "No worker serves the arrivals: records that come there wait."),
        ("on-ramp", "No worker serves the source: records that come there wait."),
    ],
)
def test_a_part_of_the_line_whose_only_worker_has_gone_is_named_though_nobody_knows_what_waits_there(
    missing: str, told: str
) -> None:
    parts = tuple(part for part in PARTS if part != missing)
    needed = {"source", "arrivals", "service.rate"}
    present = [pulse(NOW + step, "one", parts=parts) for step in range(20)]
    gone = [pulse(NOW, "two", parts=(missing,), started=NOW - 5)]

    state = seen(*present, *gone, needed=needed)

    assert state.verdict.level is Level.BAD
    assert state.verdict.text == told
    assert "http://two:6066 fell silent." in state.verdict.more, "nobody takes over what it did"
    assert state.places[state.unserved[0]].workers == 0


def test_routers_are_missed_only_where_records_are_sent_to_them() -> None:
    parts = tuple(part for part in PARTS if part != "router")
    asked = [
        pulse(NOW + step, parts=parts, places={"conductor": PlaceFigures(messages=step, records=step)})
        for step in range(8)
    ]

    assert seen(pulse(NOW, parts=parts), needed={"source"}).unserved == ()
    assert seen(pulse(NOW, places={"conductor": PlaceFigures()})).places["conductor"].workers == 1
    assert seen(*asked).verdict.text == "No worker serves the conductor: records that come there wait."


def test_a_new_version_of_the_rules_is_an_event() -> None:
    state = seen(pulse(NOW, version=3), pulse(NOW + 1, version=4), pulse(NOW + 2, "two", version=4))
    rules = [event for event in state.events if event.kind == "rules"]
    assert [event.text for event in rules] == ["version 4 of the rules took effect at http://one:6066"]


def test_a_few_minutes_are_kept_a_point_a_second() -> None:
    state = seen(*steps(500, entered=5))
    assert len(state.points) == 180
    assert {point.entered_per_second for point in state.points} == {5}


def test_the_sums_of_a_partition_that_changes_hands_are_those_of_before() -> None:
    sent = (PartitionSum(0, 100, 0), PartitionSum(1, 200, 0))
    first, second = EndedSum(0, 90, 0, 5, 0), EndedSum(1, 150, 20, 0, 0)
    before = [pulse(NOW, "one", sent=sent, ended=(first,)), pulse(NOW, "two", ended=(second,))]

    def later(seconds: float) -> Sums:
        at = NOW + seconds
        return seen(*before, pulse(at, "one", sent=sent, ended=(first,)), pulse(at, "two")).sums

    sums, too_late = later(1.0), later(HANDOVER_SECONDS + 1)
    assert (sums.sent, sums.delivered, sums.dropped, sums.dead, sums.under_way) == (300, 240, 20, 5, 35)
    assert sums.why_unknown == ""
    assert (too_late.sent, too_late.delivered, bool(too_late.why_unknown)) == (None, 240, True)


def test_sums_without_the_outcomes_of_a_partition_are_not_known() -> None:
    sent = (PartitionSum(0, 100, 0), PartitionSum(1, 200, 0))
    sums = seen(pulse(NOW, sent=sent, ended=(EndedSum(0, 90, 0, 5, 0),))).sums
    assert (sums.sent, sums.under_way, bool(sums.why_unknown)) == (None, None, True)


def test_a_silent_worker_that_tells_its_figures_again_is_an_event() -> None:
    state = LineState("line")
    state.observe(pulse(NOW), NOW)
    state.snapshot(NOW + 20)
    state.observe(pulse(NOW + 20), NOW + 20)
    assert [(event.kind, event.text) for event in state.snapshot(NOW + 20).events] == [
        ("joined", "http://one:6066 tells its figures again (all)"),
        ("silent", "http://one:6066 fell silent (all)"),
        ("joined", "http://one:6066 started (all)"),
    ]
