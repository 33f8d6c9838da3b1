"""Dead letters: what is kept of bytes that could not go on."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import orjson

from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome

STRAY = "stray:"
"""How the origin of a message begins that is no envelope; the rest is the address where it was found."""

KEPT = 64 * 1024
"""Bytes of a raw message that a dead letter keeps."""


def kept(raw: bytes) -> bytes:
    """Bytes that are no record, as the JSON line of a dead letter: text where they are, else base64; cut at 64 KiB."""
    head = raw[:KEPT]
    letter: dict[str, object] = {"size": len(raw)}
    try:
        letter["text"] = head.decode()
    except UnicodeDecodeError:
        letter["base64"] = base64.b64encode(head).decode()
    if len(raw) > KEPT:
        letter["sha256"] = hashlib.sha256(raw).hexdigest()
    return orjson.dumps({"raw": letter})


def malformed_message(raw: bytes, address: str, partition: int, offset: int, reason: str, at: float) -> Envelope:
    """The dead letter of a message that is no envelope: it was found at this offset of this address' topic."""
    where = f"{address}[{partition}]@{offset}: {reason}"
    segment = Segment((offset,), (kept(raw),), at, outcome=Outcome.dead(Cause.MALFORMED_ENVELOPE, where), hops=1)
    return Envelope("", Origin(f"{STRAY}{address}", partition), (segment,))


def too_large(envelope: Envelope, size: int, limit: int) -> Envelope:
    """The dead letters of an envelope that no message can hold: its records cut to what a letter keeps."""
    bound = f"a message may hold {limit}" if size > limit else "more than the broker takes"
    outcome = Outcome.dead(Cause.TOO_LARGE, f"{size} bytes, {bound}")
    segments = tuple(
        replace(segment, lines=tuple(map(kept, segment.lines)), outcome=outcome, itinerary=None)
        for segment in envelope.segments
    )
    return Envelope(envelope.strategy, envelope.origin, segments)
