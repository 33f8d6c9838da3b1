"""Dead letters as plain Kafka messages, with the headers in which Kafka Connect and Kafka Streams describe errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from metroline.routing.errors import MalformedEnvelope
from metroline.routing.journeys.dead_letters import kept
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.metadata import NO_TIMESTAMP, Headers, Metadata
from metroline.routing.messages.plain import BY_KEY, ID_HEADER, PlainMessage
from metroline.routing.messages.record_ids import Origin, RecordId, id_text
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending, Outcome

LETTER_HEADER = "metroline-dead-letter"
"""The header with the rest of the letter: the header of an envelope with this record alone. Ours follow it."""

DEAD_AT_HEADER = "metroline-dead-at"
"""The header with the time at which the letter was settled, in milliseconds since the epoch."""

CONNECT = "__connect.errors."
"""Prefix of the headers of a dead letter queue of Kafka Connect (KIP-298)."""

STREAMS = "__streams.errors."
"""Prefix of the headers of a dead letter queue of Kafka Streams (KIP-1034)."""

MILLISECONDS = re.compile(rb"[0-9]{1,15}")
"""A time in `DEAD_AT_HEADER`, before the year 9999 or so."""

MAX_CHARACTERS = 500
"""Maximum number of characters of a text in these headers. The letter itself holds it whole."""

HeaderList = list[tuple[str, str | bytes | None]]


def dead_letter_messages(
    line: str, strategy: str, origin: Origin, segments: Iterable[Segment], topic: str, at: float, max_bytes: int
) -> Iterator[PlainMessage]:
    """Yield a message for each record of dead segments, with key, headers and timestamp of its source message.

    `line` is the prefix of the line, `topic` the topic in which the records entered, and `at` the time of their
    settlement in seconds since the epoch. A record with which a message would exceed `max_bytes` is cut as `kept` does.
    """
    for segment in segments:
        for index in range(len(segment.ids)):
            yield _message(line, Envelope(strategy, origin, (segment.part([index]),)), topic, at, max_bytes)


def _message(line: str, letter: Envelope, topic: str, at: float, max_bytes: int) -> PlainMessage:
    [segment] = letter.segments
    metadata = segment.metadata or Metadata()
    own = _own_headers(line, letter, topic, at)
    headers: HeaderList = [*metadata.headers_of(0), *own]
    value, key = segment.lines[0], metadata.key_of(0)
    size = len(value) + len(key or b"") + sum(len(name) + len(content or b"") for name, content in headers)
    timestamp = metadata.timestamp_of(0)
    return PlainMessage(
        value if size <= max_bytes else kept(value),
        key,
        letter.origin.partition if key is None else BY_KEY,
        0 if timestamp == NO_TIMESTAMP else timestamp,
        headers,
    )


def _own_headers(line: str, letter: Envelope, topic: str, at: float) -> HeaderList:
    [segment] = letter.segments
    return [
        (LETTER_HEADER, _head(letter)),
        (DEAD_AT_HEADER, str(round(at * 1_000))),
        (ID_HEADER, id_text(letter.origin, segment.ids[0])),
        *_standard_headers(line, letter.origin, segment, topic),
    ]


def _head(letter: Envelope) -> bytes:
    """Return all of a letter that the rest of its message does not hold."""
    [segment] = letter.segments
    own = segment.metadata or Metadata()
    metadata = Metadata(None, None, own.timestamps, own.schemas) if own.timestamps or own.schemas else None
    return Envelope(letter.strategy, letter.origin, (replace(segment, lines=(), metadata=metadata),)).encode()


def _standard_headers(line: str, origin: Origin, segment: Segment, topic: str) -> HeaderList:
    outcome = segment.outcome or Outcome(Ending.DEAD)
    cause = str(outcome.cause or "")
    kind, text, stack = cause, outcome.detail or cause, ""
    if outcome.error is not None:
        traces = segment.attempts.traces if segment.attempts else ()
        kind, text = outcome.error.type, outcome.error.text
        stack = (traces[-1] if traces else "") or outcome.error.place
    text, stack = text[:MAX_CHARACTERS], stack[:MAX_CHARACTERS]
    where = (("topic", topic), ("partition", str(origin.partition)), ("offset", str(_offset(segment.ids[0]))))
    in_connect = (
        *where,
        ("connector.name", line),
        ("stage", segment.last_stop),
        ("exception.class.name", kind),
        ("exception.message", text),
        ("exception.stacktrace", stack),
    )
    in_streams = (*where, ("exception", f"{kind}: {text}"), ("message", text), ("stacktrace", stack))
    named = [*((CONNECT, *one) for one in in_connect), *((STREAMS, *one) for one in in_streams)]
    return [(prefix + name, value) for prefix, name, value in named if value]


def _offset(record: RecordId) -> int:
    return record if isinstance(record, int) else record[0]


def read_dead_letter(
    value: bytes | None, key: bytes | None, headers: Sequence[tuple[str, bytes | None]], timestamp: int
) -> tuple[Envelope, float]:
    """Return the dead letters in a message and the time of their settlement, in seconds since the epoch.

    A message without `LETTER_HEADER` is an envelope, as dead letters were written before; `timestamp`, in milliseconds,
    is then the time of their settlement. Raise `MalformedEnvelope` if the message is no dead letter.
    """
    places = [place for place, (name, _) in enumerate(headers) if name == LETTER_HEADER]
    value = value or b""
    if not places:
        return Envelope.decode(value), timestamp / 1_000
    place = places[-1]
    head, dead_at = headers[place][1] or b"", _value_of(DEAD_AT_HEADER, headers[place:])
    letter = Envelope.decode(head + b"\n" + value)
    if len(letter) != 1:
        raise MalformedEnvelope(f"not a dead letter: it has {len(letter)} records", value)
    [segment] = letter.segments
    whole = replace(segment, metadata=_metadata(key, tuple(headers[:place]), segment))
    settled = int(dead_at) if dead_at is not None and MILLISECONDS.fullmatch(dead_at) else timestamp
    return Envelope(letter.strategy, letter.origin, (whole,)), settled / 1_000


def _metadata(key: bytes | None, headers: Headers, segment: Segment) -> Metadata | None:
    own = segment.metadata or Metadata()
    if key is None and not headers and own.timestamps is None and own.schemas is None:
        return None
    keys = None if key is None else (key,)
    return Metadata(keys, (headers,) if headers else None, own.timestamps, own.schemas)


def _value_of(name: str, headers: Sequence[tuple[str, bytes | None]]) -> bytes | None:
    return next((value for own, value in headers if own == name), None)
