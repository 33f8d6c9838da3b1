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

MALFORMED_ORIGIN = "stray:"
"""How the origin of a message that is no envelope begins; the rest is the address where it was found."""

KEPT_BYTES = 64 * 1024
"""Bytes of a raw message that a dead letter keeps."""


def kept(raw: bytes) -> bytes:
    """Return bytes that are no record as the JSON line of a dead letter.

    The line has their text or, where they are no UTF-8, base64; it is cut at `KEPT_BYTES`, with the SHA-256 of all.
    """
    head = raw[:KEPT_BYTES]
    letter: dict[str, object] = {"size": len(raw)}
    try:
        letter["text"] = head.decode()
    except UnicodeDecodeError:
        letter["base64"] = base64.b64encode(head).decode()
    if len(raw) > KEPT_BYTES:
        letter["sha256"] = hashlib.sha256(raw).hexdigest()
    return orjson.dumps({"raw": letter})


def malformed_message(raw: bytes, address: str, partition: int, offset: int, reason: str, at: float) -> Envelope:
    """Return the dead letter of a message that is no envelope, found at this offset of the topic of `address`."""
    where = f"{address}[{partition}]@{offset}: {reason}"
    segment = Segment((offset,), (kept(raw),), at, outcome=Outcome.dead(Cause.MALFORMED_ENVELOPE, where), hops=1)
    return Envelope("", Origin(f"{MALFORMED_ORIGIN}{address}", partition), (segment,))


def is_malformed_message(origin: Origin) -> bool:
    """Whether an origin is that of a message that was no envelope."""
    return origin.name.startswith(MALFORMED_ORIGIN)


def too_large(envelope: Envelope, size: int, limit: int) -> Envelope:
    """Return the dead letters of an envelope that no message can hold: its records cut to what a letter keeps."""
    bound = f"a message may hold {limit}" if size > limit else "more than the broker takes"
    outcome = Outcome.dead(Cause.TOO_LARGE, f"{size} bytes, {bound}")
    segments = tuple(
        replace(segment, lines=tuple(map(kept, segment.lines)), outcome=outcome, itinerary=None)
        for segment in envelope.segments
    )
    return Envelope(envelope.strategy, envelope.origin, segments)
