"""Writes delivered records in the formats of their ends, before they are settled: one that does not fit is dead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Protocol

from msgspec.structs import replace

from metroline.agents.formats.codec import Encoder, NotWritable, SchemaPending
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.plain import TOMBSTONE, Written
from metroline.routing.messages.record_ids import RecordId
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome

RETRY_SECONDS = 0.2
"""Time between two tries while the schema registry is away. Meanwhile it is asked in the background."""

Fitted = tuple[Envelope, Written]
"""An envelope whose delivered records all fit, and their values."""


class Discardable(Protocol):
    """Work that may be handed to another worker."""

    @property
    def is_discarded(self) -> bool: ...


class FormattedEnds:
    """Writes the delivered records of envelopes."""

    def __init__(self, encoders: Mapping[str, Encoder], max_bytes: Callable[[], int]) -> None:
        """`encoders` are those of the ends whose format is not JSON; `max_bytes` returns the size of a message."""
        self._encoders = encoders
        self._max_bytes = max_bytes
        self.is_waiting = False
        """True while the schema registry does not answer."""

    async def written(self, envelope: Envelope) -> Fitted:
        """Return an envelope with the values of its delivered records; raise `SchemaPending`.

        A record that does not fit becomes a dead letter, `not_encodable`. It stays JSON, and can be replayed.
        """
        values: dict[tuple[int, RecordId], bytes] = {}
        try:
            segments = [part for one in envelope.segments for part in await self._segments(one, values)]
        except SchemaPending:
            self.is_waiting = True
            raise
        self.is_waiting = False
        return Envelope(envelope.strategy, envelope.origin, tuple(segments)), values

    async def written_patiently(self, envelope: Envelope, unit: Discardable) -> Fitted | None:
        """Do what `written` does, and wait while the registry is away.

        Return None if the unit of work was discarded meanwhile: the envelope comes again.
        """
        while not unit.is_discarded:
            with suppress(SchemaPending):
                return await self.written(envelope)
            await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _segments(self, segment: Segment, values: dict[tuple[int, RecordId], bytes]) -> list[Segment]:
        """Return a segment, divided if some of its records do not fit, and add the values of those that do."""
        outcome = segment.outcome
        encoder = None if outcome is None or outcome.end is None else self._encoders.get(outcome.end)
        if outcome is None or encoder is None or segment.request is not None:
            return [segment]
        places = [place for place, line in enumerate(segment.lines) if line != TOMBSTONE]
        schemas = segment.metadata.schemas if segment.metadata is not None else None
        if not places:
            return [segment]
        named = [None if schemas is None else schemas[place] for place in places]
        written = await encoder.encode([segment.lines[place] for place in places], named)
        unfit: dict[str, list[int]] = {}
        most = self._max_bytes()
        for place, value in zip(places, written, strict=True):
            problem = _problem(value, most)
            if isinstance(value, NotWritable) or problem is not None:
                unfit.setdefault(f"the end {outcome.end!r}: {problem}", []).append(place)
            else:
                values.setdefault((segment.generation, segment.ids[place]), value)
        return list(_divided(segment, unfit)) if unfit else [segment]


def _problem(value: bytes | NotWritable, most: int) -> str | None:
    """Return the reason why a record cannot be delivered as this value, of at most `most` bytes; None if it can."""
    if isinstance(value, NotWritable):
        return str(value)
    return f"the message would have {len(value)} bytes, the maximum is {most}" if len(value) > most else None


def _divided(segment: Segment, unfit: dict[str, list[int]]) -> Iterator[Segment]:
    """Yield the records of a segment that fit, and those that do not, by problem, as dead letters."""
    dead = {place for places in unfit.values() for place in places}
    if fit := [place for place in range(len(segment.ids)) if place not in dead]:
        yield segment.part(fit)
    for problem, places in unfit.items():
        yield replace(segment.part(places), outcome=Outcome.dead(Cause.NOT_ENCODABLE, problem))
