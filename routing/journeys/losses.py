"""Losses: messages that were deleted before the line read them. The arrivals count them, each once."""

from __future__ import annotations

from collections.abc import Iterator

from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import LossNotice, Segment

LOST_ORIGIN = "lost:"
"""Prefix of the origin of messages that were deleted from a topic of the line; the address of the topic follows."""

MAX_LOST = 2**24
"""Maximum number of messages in one notice: about a thousand blocks."""


def lost_origin(address: str) -> str:
    """Return the name of the origin of messages that were deleted from the topic of an address."""
    return f"{LOST_ORIGIN}{address}"


def loss_notices(origin: Origin, first: int, end: int, at: float) -> Iterator[Envelope]:
    """Yield notices to the arrivals that the messages from `first` up to, but without, `end` were deleted unread.

    `at` is the time at which that was noticed, in seconds since the epoch.
    """
    for begin in range(first, end, MAX_LOST):
        notice = LossNotice(min(end, begin + MAX_LOST) - 1)
        yield Envelope("", origin, (Segment((begin,), (b"{}",), at, request=notice, hops=1),))
