"""Dead letters for bytes that are not records, not envelopes, or too large."""

from __future__ import annotations

import base64
import hashlib

import orjson
from msgspec.structs import replace

from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome

MALFORMED_ORIGIN = "stray:"
"""Prefix of the origin of a message that is not an envelope; the address at which it was found follows."""

KEPT_BYTES = 64 * 1024
"""Maximum number of bytes of a raw message that a dead letter keeps."""


def kept(raw: bytes) -> bytes:
    """Return the JSON line by which a dead letter represents bytes that are not a record.

    The line holds the first `KEPT_BYTES` bytes as text or, if they are not valid UTF-8, as base64, and the size of all.
    If bytes were cut off, it also holds the SHA-256 of all.
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


def raw_in(line: bytes) -> bytes | None:
    """Return the bytes that a line of `kept` represents; None if it is no line of `kept`, or not all were kept."""
    try:
        letter = orjson.loads(line)["raw"]
        raw = letter["text"].encode() if "text" in letter else base64.b64decode(letter["base64"], validate=True)
        return raw if len(raw) == letter["size"] else None
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def malformed_message(raw: bytes, address: str, partition: int, offset: int, reason: str, at: float) -> Envelope:
    """Return the dead letter for a message that is not an envelope, found at this offset of the topic of `address`.

    `at` is the time at which it was found, in seconds since the epoch.
    """
    where = f"{address}[{partition}]@{offset}: {reason}"
    segment = Segment((offset,), (kept(raw),), at, outcome=Outcome.dead(Cause.MALFORMED_ENVELOPE, where), hops=1)
    return Envelope("", Origin(f"{MALFORMED_ORIGIN}{address}", partition), (segment,))


def is_malformed_message(origin: Origin) -> bool:
    """Return whether an origin is that of a message that is not an envelope."""
    return origin.name.startswith(MALFORMED_ORIGIN)


def too_large(envelope: Envelope, size: int, limit: int) -> Envelope:
    """Return the dead letters for an envelope of `size` bytes that does not fit into a message.

    Each record is replaced by what `kept` keeps of it.
    """
    reason = f"the maximum is {limit}" if size > limit else "which is more than the broker accepts"
    outcome = Outcome.dead(Cause.TOO_LARGE, f"the message would have {size} bytes, {reason}")
    segments = tuple(
        replace(segment, lines=tuple(map(kept, segment.lines)), outcome=outcome, itinerary=None)
        for segment in envelope.segments
    )
    return Envelope(envelope.strategy, envelope.origin, segments)
