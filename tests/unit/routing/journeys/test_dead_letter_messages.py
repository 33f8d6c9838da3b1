"""Dead letters are plain messages for any consumer, and hold all that is needed to show and replay them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from metroline.routing.errors import MalformedEnvelope
from metroline.routing.journeys.dead_letter_messages import (
    LETTER_HEADER,
    MAX_CHARACTERS,
    dead_letter_messages,
    read_dead_letter,
)
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.plain import BY_KEY, PlainMessage
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Attempts, Replay, Segment, Visit
from metroline.routing.outcome import Cause, Outcome, ServiceError

ORIGIN = Origin("source", 3)
ERROR = Outcome.raised(ServiceError("ValueError", "too heavy", "services.py:7 in weigh"))
SEGMENT = Segment(
    (7, (8, 1, 2)),
    (b'{"n":1}', b'{"n":2}'),
    900.5,
    (Visit("weigh", 950.0, "all are weighed", "on-ramp", 4),),
    outcome=ERROR,
    hops=3,
    attempts=Attempts("weigh", ("x", "y"), 990.0),
    generation=1,
    replays=(Replay(940.0, "me", "earlier", '{"n":0}'),),
    metadata=Metadata(
        (b"k", None), ((("type", b"order"), (LETTER_HEADER, b"x"), ("none", None)), None), (5, 6), ("7", None)
    ),
)


def written(*segments: Segment, origin: Origin = ORIGIN, max_bytes: int = 10_000) -> list[PlainMessage]:
    return list(dead_letter_messages("depot", "signpost", origin, segments, "orders", 1_000.25, max_bytes))


def read(message: PlainMessage, timestamp: int = 77) -> tuple[Envelope, float]:
    headers = [(name, value.encode() if isinstance(value, str) else value) for name, value in message.headers]
    return read_dead_letter(message.value or b"", message.key, headers, timestamp)


def test_value_key_timestamp_and_the_headers_before_ours_are_those_of_the_source_message() -> None:
    first, second = written(SEGMENT)
    assert (first.value, first.key, first.partition, first.timestamp) == (b'{"n":1}', b"k", BY_KEY, 5)
    assert first.headers[:3] == [("type", b"order"), (LETTER_HEADER, b"x"), ("none", None)]
    assert (second.value, second.key, second.partition, second.timestamp) == (b'{"n":2}', None, 3, 6)


def test_the_stack_trace_is_that_of_the_last_attempt() -> None:
    tried = replace(
        SEGMENT, attempts=Attempts("weigh", ("x", "y"), 990.0, ("", "services.py:5 in weigh\nlib.py:7 in put"))
    )
    found = dict(written(tried)[0].headers)
    assert found["__connect.errors.exception.stacktrace"] == "services.py:5 in weigh\nlib.py:7 in put"
    assert found["__streams.errors.stacktrace"] == found["__connect.errors.exception.stacktrace"]


def test_the_headers_of_kafka_connect_and_kafka_streams_describe_the_error() -> None:
    _, second = written(SEGMENT)
    found = dict(second.headers)
    assert found["metroline-id"] == "source-3-8.1"
    assert {name: value for name, value in found.items() if name.startswith("__")} == {
        "__connect.errors.topic": "orders",
        "__connect.errors.partition": "3",
        "__connect.errors.offset": "8",
        "__connect.errors.connector.name": "depot",
        "__connect.errors.stage": "weigh",
        "__connect.errors.exception.class.name": "ValueError",
        "__connect.errors.exception.message": "too heavy",
        "__connect.errors.exception.stacktrace": "services.py:7 in weigh",
        "__streams.errors.topic": "orders",
        "__streams.errors.partition": "3",
        "__streams.errors.offset": "8",
        "__streams.errors.exception": "ValueError: too heavy",
        "__streams.errors.message": "too heavy",
        "__streams.errors.stacktrace": "services.py:7 in weigh",
    }


def test_an_ending_without_an_exception_is_described_by_its_cause() -> None:
    [message] = written(Segment((7,), (b"{}",), 0.0, outcome=Outcome.dead(Cause.EXPIRED, "x" * 2_000)))
    found: dict[str, Any] = dict(message.headers)
    assert found["__connect.errors.exception.class.name"] == "expired"
    assert found["__connect.errors.exception.message"] == "x" * MAX_CHARACTERS
    assert "__connect.errors.exception.stacktrace" not in found


@pytest.mark.parametrize("index", [0, 1])
def test_a_letter_is_read_as_it_was_written(index: int) -> None:
    envelope, settled = read(written(SEGMENT)[index])
    assert settled == 1_000.25
    expected = SEGMENT.part([index])
    if index == 1:  # a message without headers is read as one without headers
        expected = replace(expected, metadata=Metadata(None, None, (6,), (None,)))
    assert envelope == Envelope("signpost", ORIGIN, (expected,))


def test_a_letter_that_an_earlier_version_wrote_as_an_envelope_is_read() -> None:
    before = Envelope("map_maker", ORIGIN, (SEGMENT,))
    assert read_dead_letter(before.encode(), None, (), 1_234) == (before, 1.234)


def test_a_record_that_does_not_fit_with_its_headers_is_cut() -> None:
    line = b'{"text":"' + b"x" * 100_000 + b'"}'
    [message] = written(Segment((7,), (line,), 0.0, outcome=ERROR), max_bytes=100_000)
    assert message.value is not None
    assert message.value.startswith(b'{"raw":{"size":100011,')
    assert read(message)[0].segments[0].outcome == ERROR


def test_what_is_no_dead_letter_is_refused() -> None:
    with pytest.raises(MalformedEnvelope):
        read_dead_letter(b'{"n":1}', None, [(LETTER_HEADER, b"{}")], 0)
