"""Entry: the records of a source message, their ids, and the addresses where they begin."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
import pytest

from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.entry import enter, enter_in_chunks
from metroline.routing.journeys.tombstones import Tombstones
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.metadata import NO_TIMESTAMP, Metadata
from metroline.routing.messages.record_ids import Origin, RecordId
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Ending
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import STRATEGIES, RuleTables

TO_A = RulesTable.parse('[[rules]]\nafter = "source"\nto = "a"\n')
TO_B = RulesTable.parse('[[rules]]\nafter = "source"\nto = "b"\n', version=2)
BY_SIZE = RulesTable.parse('[[rules]]\nname = "by size"\nafter = "source"\nwhen = "size > 10"\nto = "a"\n')


def entered(
    *values: bytes | None,
    strategy: str = "signpost",
    first: int = 0,
    tables: RuleTables = RuleTables(TO_A, TO_A),  # noqa: B008  # a frozen value
    metadata: Metadata | None = None,
    tombstones: Tombstones = Tombstones.DEAD,
    problems: Mapping[int, str] | None = None,
) -> dict[str, list[Segment]]:
    """Return the segments that leave the on-ramp, by address; the offsets of the messages count from `first`."""
    departures = Departures(strategy, Origin("source", 0))
    offsets = range(first, first + len(values))
    enter(departures, offsets, values, STRATEGIES[strategy], tables, 5.0, None, metadata, tombstones, problems)
    return departures.by_address


def records(segments: list[Segment]) -> dict[RecordId, bytes]:
    return {one: line for segment in segments for one, line in zip(segment.ids, segment.lines, strict=True)}


def causes(left: dict[str, list[Segment]]) -> dict[RecordId, Cause | None]:
    return {
        one: None if segment.outcome is None else segment.outcome.cause
        for segments in left.values()
        for segment in segments
        for one in segment.ids
    }


def test_one_object_is_one_record_whose_id_is_its_offset() -> None:
    left = entered(b'{"size":1}', b'{\n  "size": 2\n}\n', first=7)

    assert list(left) == ["service.a"]
    assert records(left["service.a"]) == {7: b'{"size":1}', 8: b'{"size":2}'}, "on the bus a record is one line"


def test_lines_of_a_message_are_records_with_their_place_in_it() -> None:
    left = entered(b"\n".join(orjson.dumps({"size": size}) for size in range(49)) + b"\n\n", b'{"size":9}')

    assert list(records(left["service.a"])) == [*((0, index, 49) for index in range(49)), 1]


@pytest.mark.parametrize("second", [b'{"size":3}\n{"size":4}', b'{"size":3}\nno record'])
def test_all_records_of_a_message_have_its_key_and_headers_and_dead_ones_too(second: bytes) -> None:
    metadata = Metadata.of([b"a", b"b"], [None, [("type", b"x")]], [1, 2])
    left = entered(b'{"size":1}', second, metadata=metadata)

    found = {
        one: (own.key_of(place), own.headers_of(place), own.timestamp_of(place))
        for segments in left.values()
        for segment in segments
        for own in [segment.metadata or Metadata()]
        for place, one in enumerate(segment.ids)
    }
    of_second = (b"b", (("type", b"x"),), 2)
    assert found == {0: (b"a", (), 1), (1, 0, 2): of_second, (1, 1, 2): of_second}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "the message has no value (a tombstone)"),
        (b"", "the message is empty"),
        (b" \n ", "the message is empty"),
        (b"hello", "not valid JSON"),
        (b'{"size":', "not valid JSON"),
        (b"[1,2]", "not a JSON object but a list"),
        (b"7", "not a JSON object but a number"),
        (b"null", "not a JSON object but null"),
        (b'"text"', "not a JSON object but a string"),
        (b'{"size":"\xff"}', "not valid JSON"),
        (b'{"size":18446744073709551616}', "does not fit into 64 bits"),
        (b'{"size":NaN}', "not valid JSON"),
    ],
)
def test_what_is_no_record_ends_with_its_problem_and_its_bytes(value: bytes | None, problem: str) -> None:
    left = entered(value)

    assert list(left) == ["arrivals"]
    [segment] = left["arrivals"]
    assert segment.outcome is not None
    assert (segment.outcome.ending, segment.outcome.cause) == (Ending.DEAD, Cause.MALFORMED_RECORD)
    assert problem in segment.outcome.detail
    assert orjson.loads(segment.lines[0])["raw"]["size"] == len((value or b"").strip() or value or b"")


def test_a_broken_line_among_good_ones_ends_alone() -> None:
    left = entered(b'{"size":1}\n{"size":\n{"size":3}')

    assert causes(left) == {(0, 0, 3): None, (0, 2, 3): None, (0, 1, 3): Cause.MALFORMED_RECORD}


@pytest.mark.parametrize(
    ("strategy", "to"),
    [
        ("hard_wired", "service.a"),
        ("conductor", "conductor"),
        ("map_maker", "map-maker"),
        ("signpost", "service.b"),
    ],
)
def test_a_journey_begins_where_its_strategy_says(strategy: str, to: str) -> None:
    assert list(entered(b'{"size":99}', strategy=strategy, tables=RuleTables(TO_A, TO_B))) == [to]


def test_an_error_of_a_rule_and_a_record_without_a_way_end_at_once() -> None:
    left = entered(b'{"size":"x"}', b'{"size":1}', b'{"size":11}', tables=RuleTables(BY_SIZE, BY_SIZE))

    assert causes(left) == {0: Cause.RULE_ERROR, 1: Cause.UNROUTABLE, 2: None}


def test_records_that_go_the_same_way_stay_together_and_are_one_hop_further() -> None:
    left = entered(b'{"size":1}', b"broken", b'{"size":3}')

    assert {to: [one.ids for one in segments] for to, segments in left.items()} == {
        "service.a": [(0, 2)],
        "arrivals": [(1,)],
    }
    assert all((one.hops, one.entered) == (1, 5.0) for segments in left.values() for one in segments)


def test_an_envelope_of_another_line_is_taken_apart_and_its_records_keep_their_own_metadata() -> None:
    inner = Metadata((b"x", None), None, (7, 8))
    segments = (
        Segment((40, 41), (b'{"size":1}', b'{"size":2}'), 3.0, metadata=inner),
        Segment((42,), (b'{"size":3}',), 3.0),
    )
    packed = Envelope("conductor", Origin("source", 5), segments).encode()
    lone = Envelope("conductor", Origin("source", 5), segments[1:]).encode()
    of_messages = Metadata((b"not mine", b"a", None), None, (1, 2, 3))
    left = entered(packed, b'{"size":4}', lone, metadata=of_messages)["service.a"]

    assert records(left) == {
        (0, 0, 3): b'{"size":1}',
        (0, 1, 3): b'{"size":2}',
        (0, 2, 3): b'{"size":3}',
        1: b'{"size":4}',
        2: b'{"size":3}',
    }
    found = {
        one: (own.key_of(place), own.timestamp_of(place))
        for segment in left
        for own in [segment.metadata or Metadata()]
        for place, one in enumerate(segment.ids)
    }
    none = (None, NO_TIMESTAMP)
    assert found == {(0, 0, 3): (b"x", 7), (0, 1, 3): (None, 8), (0, 2, 3): none, 1: (b"a", 2), 2: none}


def test_an_envelope_that_cannot_be_read_is_one_dead_letter_and_a_record_that_looks_like_one_is_a_record() -> None:
    newer = b'{"metroline":99,"segments":[{"ids":[1]}]}\n{"size":1}'
    own = b'{"metroline":1,"size":2}'
    left = entered(newer, own, b'{"size":3}')

    assert causes(left) == {0: Cause.MALFORMED_RECORD, 1: None, 2: None}
    [letter] = left["arrivals"]
    assert letter.outcome is not None
    assert letter.outcome.detail == "not an envelope: its format is 99; this worker reads up to 2"


@pytest.mark.parametrize(
    ("tombstones", "ending", "reason", "line"),
    [
        (
            Tombstones.DEAD,
            Ending.DEAD,
            "malformed_record: the message has no value (a tombstone)",
            b'{"raw":{"size":0,"text":""}}',
        ),
        (Tombstones.DROP, Ending.DROPPED, "tombstone", b"null"),
        (Tombstones.DELIVER, Ending.DELIVERED, None, b"null"),
    ],
)
def test_a_tombstone_ends_as_the_setting_says_and_keeps_its_key_and_an_empty_value_is_a_dead_letter(
    tombstones: Tombstones, ending: Ending, reason: str | None, line: bytes
) -> None:
    packed = Envelope("signpost", Origin("source", 0), (Segment((5,), (b"null",), 0.0),)).encode()
    metadata = Metadata((b"a", b"b", b"c", b"d"), None, None)
    left = entered(b'{"size":1}', None, b"", packed, metadata=metadata, tombstones=tombstones)

    assert records(left["service.a"]) == {0: b'{"size":1}'}
    found = {
        one: (segment.outcome.ending, segment.outcome.reason, segment.lines[place], (own.key_of(place)))
        for segment in left["arrivals"]
        if segment.outcome is not None
        for own in [segment.metadata or Metadata()]
        for place, one in enumerate(segment.ids)
    }
    empty = (
        Ending.DEAD,
        "malformed_record: the message is empty",
        b'{"raw":{"size":0,"text":""}}',
        b"c",
    )
    assert found == {1: (ending, reason, line, b"b"), 2: empty, 3: (ending, reason, line, None)}


def test_a_message_that_was_not_json_is_one_record_even_if_it_looks_like_an_envelope() -> None:
    looks_like_one = orjson.dumps({"metroline": 2, "segments": []})

    assert records(entered(looks_like_one, problems={})["service.a"]) == {0: looks_like_one}
    assert causes(entered(looks_like_one)) == {0: Cause.MALFORMED_RECORD}


def test_a_message_that_could_not_be_read_is_a_dead_letter_with_the_problem_and_its_bytes() -> None:
    many = [b'{"size":%d}' % number for number in range(2_000)]
    left = entered(*many, b"{}", None, b"\xff", problems={2_000: "no schema 7", 2_002: "cut off"})

    assert len(records(left["service.a"])) == 2_000
    details = {one: segment.outcome for segment in left["arrivals"] for one in segment.ids}
    assert {one: outcome.detail for one, outcome in details.items() if outcome} == {
        2_000: "no schema 7",
        2_001: "the message has no value (a tombstone)",
        2_002: "cut off",
    }
    assert records(left["arrivals"])[2_002] == b'{"raw":{"size":1,"base64":"/w=="}}'


def test_messages_about_which_rules_take_long_to_decide_enter_one_by_one() -> None:
    departures, values, now = Departures("signpost", Origin("source", 0)), [b'{"size":1}'] * 100, 0.0

    def slow() -> float:
        nonlocal now
        now += 0.05
        return now

    tables = RuleTables(TO_A, TO_A)
    chunks = enter_in_chunks(departures, range(100), values, STRATEGIES["signpost"], tables, 5.0, clock=slow)

    assert sum(1 for _ in chunks) == 100
    assert records(departures.by_address["service.a"]) == dict(enumerate(values))


def test_messages_that_are_decided_about_quickly_enter_in_large_chunks() -> None:
    departures, values = Departures("signpost", Origin("source", 0)), [b'{"size":1}'] * 1_000
    chunks = enter_in_chunks(departures, range(1_000), values, STRATEGIES["signpost"], RuleTables(TO_A, TO_A), 5.0)

    assert sum(1 for _ in chunks) == 10
    assert len(departures) == 1_000
