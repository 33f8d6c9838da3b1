"""Dead letters are one group if one remedy mends them all."""

from __future__ import annotations

import pytest
from pyroaring import BitMap

from metroline.app.operations.desk_index import BlockMarks, DeskIndex
from metroline.app.operations.letter import Group
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.records.source_messages import read_message


def grouped(cause: Cause, *reasons: str) -> list[Group]:
    """Return the groups of dead letters with these reasons."""
    index = DeskIndex()
    for place, reason in enumerate(reasons):
        segment = Segment((place,), (b"{}",), 0.0, outcome=Outcome.dead(cause, reason))
        index.add((0, place), 2, Envelope("signpost", Origin("source", 0), (segment,)), float(place))
    index.settle({b"0/source/0": BlockMarks(BitMap(range(len(reasons))))})
    return index.groups()


def test_messages_that_are_malformed_in_different_ways_are_groups_of_their_own() -> None:
    bad = "not valid JSON: unexpected character: line {0}"
    found = grouped(
        Cause.MALFORMED_RECORD,
        "the message is empty",
        bad.format(1),
        "not a JSON object but a list",
        bad.format(27),
    )

    assert sorted((group.count, group.as_json()["where"]) for group in found) == [
        (1, "not a JSON object but a list"),
        (1, "the message is empty"),
        (2, "not valid JSON: unexpected character: line …"),
    ]


def test_records_that_do_not_fit_a_type_are_grouped_by_the_field() -> None:
    found = grouped(
        Cause.SCHEMA,
        "Order: items[17].price: expected float, got str",
        "Order: items[1].price: expected float, got str",
        "Order: note: expected str, got null",
    )

    assert sorted((group.count, group.as_json()["where"]) for group in found) == [
        (1, "Order: note: expected str, got null"),
        (2, "Order: items[…].price: expected float, got str"),
    ]


@pytest.mark.parametrize("cause", [Cause.UNROUTABLE, Cause.NOT_ENCODABLE])
def test_values_in_a_reason_make_no_groups(cause: Cause) -> None:
    [group] = grouped(cause, "items[2]: not a decimal but 'abc'", "items[17]: not a decimal but 'x'")
    assert group.count == 2


def test_tombstones_nan_lists_and_avro_are_groups_of_their_own() -> None:
    values = (None, None, b"", b'{"order": 1, "amount": NaN}', b'[{"order": 2}]', b"\0\0\0\0\7abc", b"\0\0\0\0\x0babc")
    problems = [line.problem or "" for value in values for line in read_message(value)]
    found = grouped(Cause.MALFORMED_RECORD, *problems)

    assert sorted((group.count, group.as_json()["where"]) for group in found) == [
        (1, "not a JSON object but a list"),
        (1, "not valid JSON: NaN is no value in JSON: line … column …"),
        (1, "the message is empty"),
        (2, "not JSON: it looks like Confluent's wire format (schema …); see SOURCE_FORMAT"),
        (2, "the message has no value (a tombstone)"),
    ]
