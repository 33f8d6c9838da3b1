"""The ends of a line, where records are delivered, and the records that cannot be delivered at theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from metroline.routing.addresses import END
from metroline.routing.journeys.dead_letters import kept
from metroline.routing.messages.plain import TOMBSTONE, record_keys
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome


class End(Struct, frozen=True):
    """An end of a line: the messages that records become there."""

    key: str | None = None
    """The field of a record that is the key of its message; None for the key of its source message."""
    is_packed: bool = False
    """True if records are delivered in envelopes, which have no keys."""
    is_outside: bool = False
    """True if the records are in another system already when they come to the arrivals, and no topic is written."""


Ends = Mapping[str, End]
"""Ends by their names, the default end among them."""

DEFAULT_ENDS: Ends = {END: End()}
"""The ends of a line that declares none."""


def deliverable(segment: Segment, ends: Ends) -> Iterator[Segment]:
    """Yield a segment that has its outcome, divided if only some of its records can be delivered at their end.

    The others are dead letters: those that name an end that this worker does not know, and those without the field
    from which the end takes its key.
    """
    name = None if segment.outcome is None else segment.outcome.end
    end = None if name is None else ends.get(name)
    if name is None or (end is not None and end.key is None):
        yield segment
    elif end is None or end.key is None:
        yield _refused(segment, f"there is no end {name!r} in the line.toml of the worker that should deliver there")
    else:
        keys = record_keys(segment, end.key)
        if None not in keys:
            yield segment
            return
        keyed = [place for place, key in enumerate(keys) if key is not None]
        if keyed:
            yield segment.part(keyed)
        reason = f"the end {name!r} takes its keys from the field {end.key!r}, which the record does not have"
        yield _refused(segment.part([place for place, key in enumerate(keys) if key is None]), reason)


def _refused(segment: Segment, reason: str) -> Segment:
    """Return a segment as dead letters. Of a tombstone, a letter keeps what its message had as value: nothing."""
    rule = None if segment.outcome is None else segment.outcome.rule
    lines = tuple([kept(b"") if line == TOMBSTONE else line for line in segment.lines])
    return replace(segment, lines=lines, outcome=Outcome.dead(Cause.UNROUTABLE, reason, rule))
