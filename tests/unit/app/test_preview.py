"""A preview decides about journeys again by a new table, and its numbers are those that the same records then bring."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import convert

from metroline.agents.services.service import Service
from metroline.app.operations.letter import Letter
from metroline.app.operations.rehearsal import ORIGIN, Passage, Rehearsal
from metroline.app.preview.preview import Preview, preview
from metroline.app.preview.seen import Chosen, Seen, Shape
from metroline.app.preview.ways import LOOPS, NewTable, NewWay, UnderWay, Unknown, ahead
from metroline.app.testing.journey import Journey
from metroline.app.testing.run import run_line
from metroline.routing.errors import InvalidRules
from metroline.routing.journeys.departures import Limits
from metroline.routing.journeys.ends import End
from metroline.routing.journeys.entry import enter
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.journeys.summary import StoredJourney, StoredVisit, StoredWaits, summary
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment, Visit
from metroline.routing.outcome import Cause, Ending, Outcome
from metroline.routing.rules.table import RulesTable
from tests.support.worlds import ENDS, Handler, Record, examples, records, services, table, tables

SERVICES = """
from metroline import service

@service
def price(record):
    record["total"] = record["n"] * 10
    return record

@service
def screen(record):
    record["risk"] = record["n"] % 3
    return record

@service
def ship(record):
    record["shipped"] = True
    return record
"""

OLD = """
[[rules]]
name = "orders"
after = "source"
when = "kind == 'order'"
to = "price"

[[rules]]
name = "no order"
after = "source"
when = "kind == 'note'"
drop = "no order"

[[rules]]
name = "large"
after = "price"
when = "total >= 50"
to = "screen"

[[rules]]
name = "small"
after = "price"
to = "ship"

[[rules]]
name = "safe"
after = "screen"
when = "risk < 2"
to = "ship"

[[rules]]
name = "risky"
after = "screen"
drop = "risky"
"""

RECORDS = [{"n": n, "kind": kind} for n in range(12) for kind in ("order", "note", "other")]


def changed(*pairs: tuple[str, str]) -> str:
    text = OLD
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preview") / "orders"
    folder.mkdir()
    (folder / "services.py").write_text(SERVICES)
    (folder / "routes.toml").write_text(OLD)
    return folder


def run(line: Path, text: str) -> list[Journey]:
    """Return the journeys of all records by a table, with the services of the line."""
    rules = line / "new.toml"
    rules.write_text(text)
    return run_line(line, RECORDS, rules=rules, settings={"max_hops": 8})


def stored(journey: Journey) -> StoredJourney:
    """Return a journey as the arrivals store it."""
    stops = [StoredVisit(one.stop, 1.0, one.rule, one.by, 1) for one in journey.history]
    reason = journey.end if journey.outcome == "delivered" and journey.end != "end" else journey.reason
    record = orjson.dumps(journey.record).decode()
    return StoredJourney(journey.id, journey.outcome, reason, journey.rule, 1.0, 2.0, 1, stops, record)


def seen_in(journeys: Iterable[Journey], *, with_source: bool = False) -> list[Seen]:
    found = []
    for journey in journeys:
        seen = Seen.of_journey(stored(journey))
        assert seen is not None
        source = orjson.dumps(journey.given) if with_source else None
        found.append(Seen(seen.id, seen.shape, seen.line, seen.entered, seen.settled, None, source))
    return found


def new_table(text: str) -> NewTable:
    return NewTable(RulesTable.parse(text), {1: RulesTable.parse(OLD, 1)}, 8)


def preview_of(text: str, journeys: Sequence[Seen], letters: Sequence[Seen] = ()) -> Preview:
    new = new_table(text)
    return preview(new, 1, [(one, new.follow(one)) for one in journeys], [(one, new.follow(one)) for one in letters])


CHANGES = {
    "nothing": (),
    "another name": (('"orders"', '"all orders"'),),
    "a limit after a service": (("total >= 50", "total >= 80"),),
    "a limit at the source": (("kind == 'order'", "kind == 'order' && n > 3"),),
    "another reason": (('drop = "no order"', 'drop = "no such thing"'),),
    "the rest is shipped": ((OLD[-60:], OLD[-60:] + '\n[[rules]]\nafter = "source"\nto = "ship"\n'),),
    "nothing is screened": (("total >= 50", "total >= 5000"),),
    "the risky ones are shipped, too": (('drop = "risky"', 'to = "ship"'),),
    "small orders are unroutable": (('after = "price"\nto = "ship"', 'after = "price"\nwhen = "n > 2"\nto = "ship"'),),
    "an error": (("risk < 2", "risk < 2 && kind > 3"),),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_numbers_are_those_of_the_same_records_by_the_new_table(line: Path, name: str) -> None:
    text = changed(*CHANGES[name])
    before, after = run(line, OLD), run(line, text)
    found = preview_of(text, seen_in(before, with_source=True))
    assert found.not_decided == []
    ways = (
        [(one.stops, one.outcome, one.reason) for one in before],
        [(one.stops, one.outcome, one.reason) for one in after],
    )
    differing = [(old, new) for old, new in zip(*ways, strict=True) if old != new]
    assert found.journeys.seen == len(RECORDS)
    assert found.journeys.changed == len(differing)
    assert {one.stop: one.after for one in found.load} == {
        one.stop: sum(journey.stops.count(one.stop) for journey in after) for one in found.load
    }
    new_outcomes = Counter(new[1] for old, new in differing if old[1] != new[1])
    assert found.journeys.delivered == new_outcomes["delivered"]
    assert found.journeys.dropped == new_outcomes["dropped"]
    assert found.journeys.unroutable + found.journeys.failing == new_outcomes["dead"]
    assert sum(move.count for move in found.moves) == len(differing)


def test_a_hundred_thousand_journeys_take_a_few_seconds_of_a_processor(line: Path) -> None:
    journeys = (seen_in(run(line, OLD)) * 2_800)[:100_000]
    new = new_table(changed(("total >= 50", "total >= 80")))
    begin = time.process_time()
    found = preview(new, 1, [(one, new.follow(one)) for one in journeys])
    assert found.journeys.seen == 100_000
    assert time.process_time() - begin < 5  # 1 s on the machine where this was written


def test_a_change_is_named_with_both_rules_and_examples(line: Path) -> None:
    found = preview_of(changed(("total >= 50", "total >= 80")), seen_in(run(line, OLD)))
    [move] = found.moves
    told = move.after, move.before, move.rule_before, move.to, move.rule
    assert told == ("price", "screen", "large", "ship", "small")
    assert (move.count, move.outcome, len(move.examples)) == (3, "delivered", 3)
    assert found.journeys.dropped == 0
    assert found.journeys.delivered == 1  # n = 5 was risky


def test_a_stop_that_no_record_visits_any_more_starves(line: Path) -> None:
    found = preview_of(changed(("total >= 50", "total >= 5000")), seen_in(run(line, OLD)))
    assert found.starved == ["screen"]


def test_a_record_that_comes_back_to_a_stop_loops(line: Path) -> None:
    text = OLD + '\n[[rules]]\nafter = "ship"\nwhen = "total > 0"\nto = "price"\n'
    found = preview_of(text, seen_in(run(line, OLD)))
    assert found.journeys.looping == sum(one.outcome == "delivered" and one.record["n"] > 0 for one in run(line, OLD))
    assert {move.outcome for move in found.moves} == {LOOPS, "dead: unroutable"}


def journeys_of(text: str, handlers: dict[str, Handler], record: Record, version: int) -> Seen:
    """Return the journey of a record through services, as the line remembers it."""
    rehearsal = Rehearsal(
        RulesTable.parse(text, version, ends=ENDS),
        {name: Service(name, handler) for name, handler in handlers.items()},
        Limits(max_hops=8),
        RetryPolicy(attempts=1),
        ends={end: End() for end in ENDS},
    )

    async def last() -> Passage:
        departures = rehearsal.departures()
        enter(departures, [7], [orjson.dumps(record)], rehearsal.strategy, rehearsal.rule_tables, 900.0)
        return [passage async for passage in rehearsal.walk(departures)][-1]

    stored = summary(ORIGIN, asyncio.run(last()).segment, 0, 950.0)
    seen = Seen.of_journey(convert(orjson.loads(orjson.dumps(stored)), StoredJourney))
    assert seen is not None
    return seen


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a table, and the same one with one rule removed, replaced or added."""
    before, others = draw(tables().filter(bool)), draw(tables().filter(bool))
    place, length = draw(st.integers(0, len(before) - 1)), draw(st.integers(0, 1))
    added = draw(st.sampled_from([(), *((other,) for other in others)]))
    texts = table(before), table((*before[:place], *added, *before[place + length :]))
    for text in texts:
        try:
            RulesTable.parse(text, ends=ENDS)
        except InvalidRules:
            assume(False)
    return texts


@given(changes(), services, records)
@examples(150)
def test_what_is_said_for_certain_is_what_then_happens(
    texts: tuple[str, str], handlers: dict[str, Handler], record: Record
) -> None:
    old, new = (journeys_of(text, handlers, record, version) for version, text in enumerate(texts, 1))
    known = replace(old, source=orjson.dumps(record), metadata=Metadata())
    tables_now = [RulesTable.parse(text, version, ends=ENDS) for version, text in enumerate(texts, 1)]
    for seen in (known, old):
        way = NewTable(tables_now[1], {1: tables_now[0]}, 8).follow(seen)
        if way.unknown is None and not way.is_supposed:
            assert (way.stops, way.outcome) == (new.shape.stops, new.shape.outcome)


def one(record: dict[str, Any] | None, *way: Chosen, ending: Ending = Ending.DELIVERED, **more: Any) -> Seen:
    shape = Shape(way, ending, more.pop("detail", ""), more.pop("rule", None))
    return Seen("source-0-1", shape, None if record is None else orjson.dumps(record), 900.0, 950.0, **more)


TO_PRICE, TO_SHIP = Chosen("price", "orders", 1), Chosen("ship", "small", 1)


def follow(text: str, seen: Seen) -> NewWay:
    return new_table(text).follow(seen)


def test_a_decision_that_cannot_differ_needs_no_record() -> None:
    way = follow(OLD + '\n[[rules]]\nafter = "source"\nto = "ship"\n', one(None, TO_PRICE, TO_SHIP))
    assert (way.turn, way.unknown, way.stops) == (None, None, ("price", "ship"))


def test_of_a_record_of_which_only_the_beginning_is_kept_nothing_is_said() -> None:
    way = follow(changed(("total >= 50", "total >= 80")), one(None, TO_PRICE, TO_SHIP))
    assert (way.unknown, way.unknown_after) == (Unknown.CUT, "price")


def test_a_field_that_a_service_may_have_set_since_is_not_taken_for_that_of_the_source() -> None:
    text = changed(("kind == 'order'", "kind == 'order' && total == null"))
    seen = one({"kind": "paid", "n": 1, "total": 10}, TO_PRICE, TO_SHIP)
    assert follow(text, seen).unknown is Unknown.RECORD  # by the old table, this record would not have gone to `price`
    known = one({"kind": "paid", "n": 1, "total": 10}, TO_PRICE, TO_SHIP, source=b'{"kind":"order","n":1}')
    assert (follow(text, known).unknown, follow(text, known).turn) == (None, None)


def test_a_decision_counts_if_what_it_reads_did_not_change_on_the_way() -> None:
    way = TO_PRICE, Chosen("screen", "large", 1), Chosen("ship", "safe", 1)
    seen = one({"kind": "order", "n": 9, "total": 0, "risk": 0}, *way)  # a service has set `total` back since
    text = changed(("total >= 50", "n >= 8"))
    assert follow(text, seen).unknown is Unknown.RECORD
    known = replace(seen, source=b'{"kind":"order","n":9}')
    assert (follow(text, known).unknown, follow(text, known).turn) == (None, None)
    other = replace(seen, source=b'{"kind":"order","n":1}')
    assert follow(text, other).unknown is Unknown.RECORD


def test_a_source_message_that_was_edited_before_it_was_decided_about_is_not_believed() -> None:
    text = changed(("kind == 'order'", "kind == 'order' && n > 5"))
    edited = one({"kind": "order", "n": 1}, TO_PRICE, TO_SHIP, source=b'{"kind":"note","n":9}')
    way = follow(text, edited)
    assert way.is_supposed
    assert way.outcome == "dead: unroutable"


def test_metadata_that_is_not_kept_is_not_guessed() -> None:
    text = changed(("kind == 'order'", "meta.key == 'a'"))
    seen = one({"kind": "order", "n": 1}, TO_PRICE, TO_SHIP)
    assert follow(text, seen).unknown is Unknown.METADATA
    known = one(
        {"kind": "order", "n": 1},
        TO_PRICE,
        TO_SHIP,
        source=b'{"kind":"order","n":1}',
        metadata=Metadata.of([b"a"], [None], [5]),
    )
    assert follow(text, known).turn is None


def test_a_version_that_is_not_known_is_not_guessed() -> None:
    seen = one({"kind": "order", "n": 1}, Chosen("price", "orders", 7), Chosen("ship", "small", 7))
    assert follow(OLD, seen).unknown is Unknown.VERSION


def test_a_journey_that_ended_at_the_source_was_decided_by_the_version_of_that_time() -> None:
    first = '[[rules]]\nname = "notes"\nafter = "source"\nwhen = "kind == \'note\'"\ndrop = "no order"\n'
    before = '[[rules]]\nname = "urgent"\nafter = "source"\nwhen = "n > 5"\nto = "ship"\n'
    versions = {1: RulesTable.parse(first, 1), 2: RulesTable.parse(before + first, 2)}
    new = NewTable(RulesTable.parse(before + first), versions, 8, {1: 100.0, 2: 1_000.0})
    dropped = one({"kind": "note", "n": 9}, ending=Ending.DROPPED, detail="no order", rule="notes")
    assert new.follow(dropped).outcome == "delivered"  # it ended at 950 s, before version 2
    assert new.follow(replace(dropped, settled=1_050.0)).turn is None


def test_a_record_that_was_replayed_is_followed_from_where_it_began_again() -> None:
    seen = one({"kind": "order", "n": 1}, TO_PRICE, TO_PRICE, TO_SHIP)
    way = follow(changed(("kind == 'order'", "kind in ['order', 'offer']")), seen)
    assert (way.turn, way.stops) == (None, ("price", "price", "ship"))


def letter(record: dict[str, Any], outcome: Outcome, *stops: str) -> Seen:
    history = tuple(Visit(stop, 900.0, "orders" if stop == "price" else "small", "signpost", 1) for stop in stops)
    segment = Segment((7,), (orjson.dumps(record),), 900.0, history, outcome=outcome)
    return Seen.of_letter(Letter(Envelope("signpost", Origin("source", 0), (segment,)), 950.0))


def test_dead_letters_that_would_go_through_are_counted() -> None:
    unroutable = letter({"kind": "other", "n": 1}, Outcome.dead(Cause.UNROUTABLE, "no rule after source holds"))
    failed = letter({"kind": "order", "n": 1}, Outcome.dead(Cause.SERVICE_ERROR, "ValueError: no"), "price")
    malformed = letter({"raw": "{"}, Outcome.dead(Cause.MALFORMED_RECORD, "not JSON"))
    text = OLD + '\n[[rules]]\nname = "rest"\nafter = "source"\nto = "ship"\n'
    found = preview_of(text, [], [unroutable, failed, malformed])
    assert (found.letters.seen, found.letters.delivered, found.letters.unchanged) == (3, 1, 2)
    [move] = found.letter_moves
    assert (move.before, move.to, move.rule, move.outcome) == ("dead: unroutable", "ship", "rest", "delivered")


def test_a_letter_goes_around_the_stop_at_which_it_failed() -> None:
    failed = letter({"kind": "order", "n": 1}, Outcome.dead(Cause.SERVICE_ERROR, "ValueError: no"), "price")
    way = follow(changed(('to = "price"', 'to = "ship"')), failed)
    assert (way.stops, way.outcome) == (("ship",), "delivered")


def test_a_journey_that_waited_is_read_like_any_other() -> None:
    journey = StoredJourney(
        "source-0-1", "dead", "retries_exhausted: busy", None, 1.0, 2.0, 3, [], "{}", [StoredWaits("price", 1.0, 2)]
    )
    seen = Seen.of_journey(journey)
    assert seen is not None
    assert seen.shape.outcome == "dead: retries_exhausted"


SEARCHED = '[[rules]]\nafter = "source"\nto = "price"\n[[rules]]\nafter = "price"\nto = "search"\n'


def test_an_end_in_another_system_ends_the_way_of_a_record() -> None:
    table, ends = RulesTable.parse(SEARCHED), frozenset({"search"})
    stops = [StoredVisit("price", 1.0, "rule 1", "map-maker", 1), StoredVisit("search", 1.0, "rule 2", "map-maker", 1)]
    stored_one = StoredJourney("source-0-1", "delivered", "search", None, 1.0, 2.0, 1, stops, "{}")
    seen = Seen.of_journey(stored_one)
    assert seen is not None
    assert seen.shape.outcome == "delivered at search"
    for versions in ({}, {1: table}):
        assert NewTable(table, versions, 8, {}, ends).follow(seen).outcome == seen.shape.outcome
    waiting = UnderWay("source-0-2", "price", True, b"{}", 1.0, 1)
    found = ahead(table, waiting, 8, ends)
    assert (found.stops, found.outcome) == (("search",), "delivered at search")


def test_records_that_a_new_table_sends_to_an_end_in_another_system_are_forecast_there() -> None:
    before = RulesTable.parse(SEARCHED.replace('"search"', '"end"'), 1)
    stops = [StoredVisit("price", 1.0, "rule 1", "map-maker", 1)]
    seen = Seen.of_journey(StoredJourney("source-0-1", "delivered", "", "rule 2", 1.0, 2.0, 1, stops, "{}"))
    assert seen is not None
    way = NewTable(RulesTable.parse(SEARCHED), {1: before}, 8, {}, frozenset({"search"})).follow(seen)
    assert (way.stops, way.outcome) == (("price", "search"), "delivered at search")
