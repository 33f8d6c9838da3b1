"""A summary of the journey of one record, for display."""

from __future__ import annotations

from metroline.routing.messages.record_ids import Origin, id_text
from metroline.routing.messages.segment import Segment

SHOWN_BYTES = 2_000
"""Maximum number of bytes of a record that are shown."""


def summary(origin: Origin, segment: Segment, place: int, settled_at: float) -> dict[str, object]:
    """Return the journey of the record at an index of a segment as JSON data; times are in seconds since the epoch."""
    outcome = segment.outcome
    return {
        "id": id_text(origin, segment.ids[place]),
        "outcome": outcome and outcome.ending.value,
        "reason": outcome and outcome.reason,
        "rule": outcome and outcome.rule,
        "entered": segment.entered,
        "settled": settled_at,
        "hops": segment.hops,
        "stops": [visit._asdict() for visit in segment.history],
        "record": segment.lines[place][:SHOWN_BYTES].decode(errors="replace"),
    }
