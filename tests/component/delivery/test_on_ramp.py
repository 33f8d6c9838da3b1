"""The on-ramp's batches: what of a source message becomes a record, with which id, and where it begins."""

from __future__ import annotations

import orjson
import pytest

from metroline.agents.on_ramp import source_origin
from metroline.routing.journeys.entry import Batch
from metroline.routing.messages.itinerary import Hop
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending
from metroline.routing.strategies import STRATEGIES
from tests.support.bench import Bench


def batch(bench: Bench, *values: bytes | None, strategy: str = "signpost", first: int = 0) -> Batch:
    made = Batch(STRATEGIES[strategy], bench.rule_tables)
    made.add(range(first, first + len(values)), values)
    return made


def moves(made: Batch) -> list[Hop]:
    return [next_step.move("on-ramp") for next_step in made.next_steps]


def causes(made: Batch) -> list[str | None]:
    outcomes = [move.outcome for move in moves(made)]
    return [None if outcome is None else str(outcome.reason).partition(":")[0] for outcome in outcomes]


async def test_one_object_is_one_record_whose_id_is_its_offset(bench: Bench) -> None:
    made = batch(bench, b'{"size":1}', b'{\n  "size": 2\n}\n', first=7)

    assert made.ids == [7, 8]
    assert made.lines == [b'{"size":1}', b'{"size":2}'], "on the bus a record is one line"
    assert [move.to for move in moves(made)] == ["service.a", "service.a"]


async def test_lines_of_a_message_are_records_with_their_place_in_it(bench: Bench) -> None:
    made = batch(bench, b"\n".join(orjson.dumps({"size": size}) for size in range(49)) + b"\n\n", b'{"size":9}')

    assert made.ids == [*((0, index, 49) for index in range(49)), 1]
    assert len(made.lines) == len(made.next_steps) == 50


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "the message is empty"),
        (b"", "the message is empty"),
        (b" \n ", "the message is empty"),
        (b"hello", "no JSON"),
        (b'{"size":', "no JSON"),
        (b"[1,2]", "no JSON object but a list"),
        (b"7", "no JSON object but a number"),
        (b"null", "no JSON object but null"),
        (b'"text"', "no JSON object but a text"),
        (b'{"size":"\xff"}', "no JSON"),
        (b'{"size":18446744073709551616}', "does not fit into 64 bits"),
        (b'{"size":NaN}', "no JSON"),
    ],
)
async def test_what_is_no_record_ends_with_its_problem_and_its_bytes(
    bench: Bench, value: bytes | None, problem: str
) -> None:
    made = batch(bench, value)

    [move], [line] = moves(made), made.lines
    assert move.to == "arrivals"
    assert move.outcome is not None
    assert move.outcome.ending is Ending.DEAD
    assert str(move.outcome.reason).startswith("malformed_record: ")
    assert problem in str(move.outcome.reason)
    assert orjson.loads(line)["raw"]["size"] == len((value or b"").strip() or value or b"")


async def test_a_broken_line_among_good_ones_ends_alone(bench: Bench) -> None:
    made = batch(bench, b'{"size":1}\n{"size":\n{"size":3}')

    assert made.ids == [(0, 0, 3), (0, 1, 3), (0, 2, 3)]
    assert causes(made) == [None, "malformed_record", None]


@pytest.mark.parametrize(
    ("strategy", "to"),
    [
        ("hard_wired", "service.a"),
        ("conductor", "conductor"),
        ("map_maker", "map-maker"),
        ("signpost", "service.b"),
    ],
)
async def test_a_journey_begins_where_its_strategy_says(bench: Bench, strategy: str, to: str) -> None:
    bench.publish('[[rules]]\nafter = "source"\nto = "b"\n', replaces=1)

    made = batch(bench, b'{"size":99}', strategy=strategy)

    assert [move.to for move in moves(made)] == [to]


async def test_an_error_of_a_rule_and_a_record_without_a_way_end_at_once(bench: Bench) -> None:
    bench.publish('[[rules]]\nname = "by size"\nafter = "source"\nwhen = "size > 10"\nto = "a"\n', replaces=1)

    assert causes(batch(bench, b'{"size":"x"}', b'{"size":1}', b'{"size":11}')) == ["rule_error", "unroutable", None]


async def test_a_batch_is_one_segment_until_its_records_go_their_ways(bench: Bench) -> None:
    made = batch(bench, b'{"size":1}', b"broken", b'{"size":3}')
    segment = made.segment(5.0)
    assert segment == Segment((0, 1, 2), tuple(made.lines), 5.0)

    departures = bench.bus.departures("signpost", Origin(source_origin(0), 0))
    departures.add_next_steps(segment, made.next_steps, "on-ramp")

    assert {to: [one.ids for one in segments] for to, segments in departures.by_address.items()} == {
        "service.a": [(0, 2)],
        "arrivals": [(1,)],
    }
    assert all(one.hops == 1 for segments in departures.by_address.values() for one in segments)


def test_each_epoch_of_a_source_settles_its_records_apart() -> None:
    assert [source_origin(epoch) for epoch in (0, 1, 2)] == ["source", "source-1", "source-2"]
