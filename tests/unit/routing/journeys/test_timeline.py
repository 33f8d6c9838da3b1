"""Timelines: how long a record waited and was worked on at each place, and the values with which rules sent it on."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from metroline.routing.journeys.timeline import Certainty, Decided, Timeline, timeline
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Provenance
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Attempts, Replan, Replay, Segment, Visit, Waits
from metroline.routing.outcome import DELIVERED, Cause, Ending, Outcome, ServiceError
from metroline.routing.rules.table import RulesTable

RULES = """
[[rules]]
name = "paid ones"
after = "source"
when = "paid == true"
to = "ship"

[[rules]]
name = "all"
after = "source"
to = "price"

[[rules]]
name = "dear ones"
after = "price"
when = "amount > 10"
to = "check"

[[rules]]
name = "cheap ones"
after = "price"
to = "ship"

[[rules]]
name = "checked ones"
after = "check"
match = { ok = true }
to = "ship"

[[rules]]
name = "refused ones"
after = "check"
drop = "refused"
"""
TABLE = RulesTable.parse(RULES, 3)

HISTORY = (
    Visit("price", 103.0, "all", "on-ramp", 3, 2.0),
    Visit("check", 110.0, "dear ones", "price", 3, 0.5),
    Visit("ship", 111.0, "checked ones", "check", 3),
)


def told(record: dict[str, Any], entered_as: dict[str, Any] | None = None, **segment: Any) -> Timeline:
    line = orjson.dumps(record)
    defaults: dict[str, Any] = {
        "history": HISTORY,
        "outcome": DELIVERED,
        "chosen": Provenance(None, "ship", 3),
        "hops": 4,
    }
    one = Segment((7,), (line,), 100.0, **defaults | segment)
    first = None if entered_as is None else orjson.dumps(entered_as)
    return timeline(Envelope("signpost", Origin("source", 0), (one,)), 111.5, {3: TABLE}.get, first)


def decided(found: Timeline) -> list[Decided]:
    return [place.decided for place in found.places]


END = {"paid": False, "amount": 12, "ok": True}


def test_each_place_says_when_the_record_came_and_how_long_it_waited_and_was_worked_on() -> None:
    found = told(END, metadata=Metadata(timestamps=(98_500,)))
    assert [(place.place, place.came, place.waited, place.worked, place.left) for place in found.places] == [
        ("source", 98.5, 1.5, None, 100.0),
        ("price", 100.0, 1.0, 2.0, 103.0),
        ("check", 103.0, 6.5, 0.5, 110.0),
        ("ship", 110.0, None, None, 111.0),
    ]
    assert (found.id, found.outcome, found.entered, found.ended, found.seconds) == (
        *("source-0-7", "delivered", 100.0, 111.5, 11.5),
    )


def test_what_sent_a_record_on_is_told_with_the_values_that_the_rules_read() -> None:
    found = decided(told(END, {"paid": False, "amount": 1}))
    assert [(one.to, one.by, one.rule, one.version) for one in found] == [
        ("price", "on-ramp", "all", 3),
        ("check", "price", "dear ones", 3),
        ("ship", "check", "checked ones", 3),
        ("delivered", "ship", None, 3),
    ]
    at_source = found[0]
    assert at_source.certainty is Certainty.EXACT
    assert [(one.rule, one.holds, one.read) for one in at_source.tried] == [
        ("paid ones", False, {"paid": "false"}),
        ("all", True, {}),
    ]
    assert found[3].certainty is Certainty.EXACT


def test_values_between_the_ends_of_a_journey_are_as_certain_as_they_can_be() -> None:
    unchanged = decided(told(END, {"paid": False, "amount": 12}))[1]
    assert (unchanged.certainty, unchanged.tried[0].read) == (Certainty.UNCHANGED, {"amount": "12"})
    later = decided(told(END, {"paid": False, "amount": 1}))[1]
    assert (later.certainty, later.tried[0].read) == (Certainty.LATER, {"amount": "12"})
    assert decided(told(END))[1].certainty is Certainty.LATER
    changed = decided(told(END | {"amount": 2}, {"paid": False, "amount": 1}))[1]
    assert (changed.certainty, changed.tried, changed.rule) == (Certainty.CHANGED, [], "dear ones")


def test_a_plan_of_the_map_maker_was_made_with_the_record_as_it_entered() -> None:
    planned = tuple(visit._replace(by="map-maker") for visit in HISTORY)
    found = decided(told(END | {"amount": 2}, {"paid": False, "amount": 12, "ok": True}, history=planned))
    assert [(one.certainty, [tried.read for tried in one.tried]) for one in found[1:3]] == [
        (Certainty.EXACT, [{"amount": "12"}]),
        (Certainty.EXACT, [{"ok": "true"}]),
    ]


def test_the_values_are_unknown_without_the_table_of_that_time_or_if_it_would_decide_otherwise() -> None:
    old = tuple(visit._replace(version=2) for visit in HISTORY)
    assert {one.certainty for one in decided(told(END, END, history=old))[:3]} == {Certainty.UNKNOWN}
    other = decided(told(END, {"paid": True}))[0]
    assert (other.certainty, other.rule, other.tried) == (Certainty.UNKNOWN, "all", [])


def test_a_dead_letter_of_a_service_was_sent_there_with_the_record_that_it_holds() -> None:
    failed = Outcome.raised(ServiceError("OSError", "no"))
    tried = Attempts("check", ("OSError: no", "OSError: still no"), 110.0, ("a\nb",), (105.0, 109.9))
    found = told(
        {"amount": 12}, history=HISTORY[:2], outcome=failed, attempts=tried, chosen=Provenance(None, "check", 0)
    )
    before, last = found.places[1:]
    assert (before.decided.certainty, before.decided.tried[0].read) == (Certainty.EXACT, {"amount": "12"})
    assert (last.decided.to, last.decided.certainty) == ("dead: service_error: OSError: no", Certainty.NONE)
    assert [(one.at, one.cause, one.calls) for one in last.attempts] == [
        (105.0, "OSError: no", ["a", "b"]),
        (109.9, "OSError: still no", []),
    ]


def test_a_rule_that_cannot_be_evaluated_is_told_with_what_it_read() -> None:
    outcome = Outcome.dead(Cause.RULE_ERROR, "dear ones: no", "dear ones")
    chosen = Provenance("dear ones", "price", 3)
    last = decided(told({"amount": "x"}, history=HISTORY[:1], outcome=outcome, chosen=chosen))[-1]
    assert (last.certainty, last.rule) == (Certainty.EXACT, "dear ones")
    assert last.tried[-1].read == {"amount": '"x"'}
    assert last.tried[-1].verdict.startswith("rule_error: ")


def test_a_drop_is_told_by_its_rule_or_by_its_service() -> None:
    by_rule = told(
        {"ok": False},
        history=HISTORY[:2],
        outcome=Outcome.dropped("refused", "refused ones"),
        chosen=Provenance("refused ones", "check", 3),
    )
    last = decided(by_rule)[-1]
    assert (last.to, last.certainty, last.rule) == ("dropped: refused", Certainty.EXACT, "refused ones")
    by_service = decided(told({"amount": 12}, history=HISTORY[:2], outcome=Outcome.dropped("no"), chosen=None))[-1]
    assert (by_service.to, by_service.certainty, by_service.rule) == ("dropped: no", Certainty.NONE, None)


def test_attempts_waits_and_replans_stand_at_their_stops() -> None:
    found = told(
        END,
        retried=(Attempts("price", ("x",), 101.0, (), (100.5,)),),
        waited=(Waits("check", 104.0, 2),),
        replans=(Replan("price", ("amount",)),),
        history=(HISTORY[0], HISTORY[1]._replace(by="switch"), HISTORY[2]),
    )
    _, price, check, ship = found.places
    assert ([one.cause for one in price.attempts], price.replanned) == (["x"], ["amount"])
    assert (check.waits and (check.waits.since, check.waits.times), check.replanned) == ((104.0, 2), None)
    assert (ship.attempts, ship.waits) == ([], None)


def test_a_stop_that_is_visited_twice_has_what_happened_at_each_visit() -> None:
    first, second = Visit("a", 110.0, "all", "on-ramp", 3, 1.0), Visit("a", 120.0, "all", "switch", 3, 1.0)
    found = told(
        END,
        history=(first, second),
        retried=(Attempts("a", ("x",), 115.0, (), (114.0,)),),
        waited=(Waits("a", 105.0, 1), Waits("a", 115.0, 2)),
        replans=(Replan("a", ("amount",)), Replan("a", ("ok",))),
        chosen=Provenance(None, "switch", 3),
    )
    _, one, two = found.places
    assert ([len(place.attempts) for place in (one, two)], one.replanned, two.replanned) == (
        *([0, 1], ["amount"], ["ok"]),
    )
    assert [place.waits and place.waits.times for place in (one, two)] == [1, 2]
    only_second = told(END, history=(first, second._replace(by="map-maker")), replans=(Replan("a", ("ok",)),))
    assert [place.replanned for place in only_second.places] == [None, None, None]


def test_a_replay_to_a_stop_was_decided_by_no_rule_and_the_record_that_entered_is_another_one() -> None:
    replayed = (Visit("ship", 103.0, None, "replay", 3, 1.0),)
    found = told(END, {"paid": True}, history=replayed, replays=(Replay(99.0, "me", "why", "{}"),), generation=1)
    assert (found.places[0].decided.certainty, found.places[0].came) == (Certainty.NONE, None)
    assert [(one.by, one.reason, one.was_edited) for one in found.replays] == [("me", "why", True)]
    again = told(END, {"paid": True}, replays=(Replay(99.0, "me", "why"),), generation=1)
    assert again.places[0].decided.certainty is Certainty.LATER


def test_many_rules_are_cut_to_the_one_that_held_and_those_before_it() -> None:
    rules = "".join(
        f'[[rules]]\nname = "r{n}"\nafter = "source"\nmatch = {{ n = {n} }}\nto = "a"\n' for n in range(500)
    )
    line = Segment((7,), (b'{"n":400}',), 1.0, (Visit("a", 2.0, "r400", "on-ramp", 1),), outcome=DELIVERED)
    table = RulesTable.parse(rules, 1)
    found = timeline(Envelope("", Origin("source", 0), (line,)), 2.0, lambda _: table, b'{"n":400}').places[0].decided
    assert (len(found.tried), found.more_tried, found.tried[-1].rule) == (20, 381, "r400")


@pytest.mark.parametrize("line", [b'{"raw":{"size":9,"text":"x"}}', b"no json", b"[1]"])
def test_what_is_no_record_is_shown_and_decides_nothing(line: bytes) -> None:
    segment = Segment(
        (7,), (line,), 1.0, (), Provenance(None, "", 0), outcome=Outcome.dead(Cause.MALFORMED_RECORD, "x")
    )
    found = timeline(Envelope("", Origin("source", 0), (segment,)), 2.0, lambda _: TABLE, line)
    assert found.outcome == Ending.DEAD
    assert found.places[0].decided.certainty is Certainty.NONE
    assert found.is_cut is not (line == b"[1]")
