"""The dry run of a replay says where a dead letter goes, and from where on it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Set

import orjson

from metroline.agents.services.service import Service
from metroline.app.operations.forecast import forecast, restarted
from metroline.app.operations.letter import Letter
from metroline.app.operations.rehearsal import Rehearsal
from metroline.app.operations.replays import Replays
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import RuleTables
from tests.support.worlds import Record

TABLE = """
[[rules]]
name = "orders are priced"
after = "source"
when = "kind == 'order' && meta.key != 'test'"
to = "price"

[[rules]]
name = "others"
after = "source"
drop = "no order"

[[rules]]
name = "large"
after = "price"
when = "total > 10"
to = "ship"

[[rules]]
name = "all come again"
after = "ship"
to = "price"
"""
LIVE = RulesTable.parse(TABLE)
OTHER = RulesTable.parse('[[rules]]\nafter = "source"\ndrop = "by the file"\n')


def letter(record: Record, strategy: str = "signpost", key: bytes | None = None) -> Letter:
    dead = Outcome.dead(Cause.SERVICE_ERROR, "ValueError: no")
    metadata = Metadata.of([key], [None], [5])
    segment = Segment((7,), (orjson.dumps(record),), 900.0, outcome=dead, metadata=metadata)
    return Letter(Envelope(strategy, Origin("source", 0), (segment,)), 950.0)


def told(one: Letter, stop: str | None = None, last: Set[str] = frozenset()) -> str:
    return forecast(RuleTables(OTHER, LIVE), one, one.line, stop, last)


def test_a_way_ends_at_an_end_in_another_system() -> None:
    one = letter({"kind": "order", "total": 5}, "signpost")
    assert told(one, last={"price"}) == "price (orders are priced)"
    assert told(one, "price", last={"price"}) == "price (as asked)"
    assert told(letter({"kind": "order", "total": 50}, "map_maker"), "price", last={"ship"}) == (
        "price (as asked) -> if no service changes what the rules read: ship (large)"
    )


def test_where_a_record_ends_at_once_is_certain() -> None:
    assert told(letter({"kind": "fax"})) == "dropped: no order"
    assert told(letter({"kind": "order"}, key=b"test")) == "dropped: no order"


def test_what_lies_behind_a_service_depends_on_it() -> None:
    assert told(letter({"kind": "order", "total": 20})) == (
        "price (orders are priced) -> if no service changes what the rules read: ship (large)"
        " -> then as its content will be"
    )


def test_a_decision_that_would_be_a_dead_letter_is_not_forecast() -> None:
    assert told(letter({"kind": "order"})) == "price (orders are priced) -> then as its content will be"


def test_the_stop_that_is_asked_for_is_certain() -> None:
    assert told(letter({"total": 20}), "price") == (
        "price (as asked) -> if no service changes what the rules read: ship (large) -> price (all come again)"
        " -> then as its content will be"
    )


def test_a_hard_wired_journey_goes_by_the_file() -> None:
    assert told(letter({"kind": "order"}, "hard_wired")) == "dropped: by the file"


def test_with_services_each_step_is_known_to_the_end() -> None:
    def price(record: Record) -> Record:
        return record | {"total": 5}

    def verdicts(one: Letter, stop: str | None) -> list[tuple[str, int, str]]:
        rehearsal = Rehearsal(LIVE, {"price": Service("price", price)})
        [request] = Replays.of([one], {"total": 20}, None, stop, "me").requests

        async def run() -> list[tuple[str, int, str]]:
            steps = rehearsal.follow(restarted(rehearsal, request), is_decided=stop is None)
            return [(step.after, len(step.trials), step.verdict) async for step in steps]

        return asyncio.run(run())

    ends = ("price", 1, "dead: unroutable: no rule after price holds")
    assert verdicts(letter({"kind": "order"}), None) == [("source", 1, "price"), ends]
    assert verdicts(letter({"kind": "fax"}), "price") == [("source", 0, "price"), ends]
