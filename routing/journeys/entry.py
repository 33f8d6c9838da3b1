"""Turns source messages into a segment whose records take their first steps (Messaging Gateway)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat

from metroline.routing.addresses import SOURCE
from metroline.routing.errors import MalformedEnvelope
from metroline.routing.journeys.chunks import Clock, at_once, in_chunks
from metroline.routing.journeys.dead_letters import kept
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.tombstones import GONE, Tombstones, ended
from metroline.routing.messages.envelope import Envelope, is_packed, may_hold_packed
from metroline.routing.messages.itinerary import Decision, NextStep
from metroline.routing.messages.metadata import Metadata, joined
from metroline.routing.messages.record_ids import RecordId
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.records.field_sets import NOTHING
from metroline.routing.records.source_messages import SourceLine, read_message, read_plain
from metroline.routing.rules.rule_meta import RuleMetas, rule_metas
from metroline.routing.strategies import RuleTables, Strategy

ON_RAMP = "on-ramp"
"""The decider that the history of a journey names for its first step."""

CHUNK_BYTES = 24 * 1024
"""Bytes of source messages that are read together. If one of them has to be read line by line, all of them are."""


def enter_in_chunks(
    departures: Departures,
    offsets: Sequence[int],
    values: Sequence[bytes | None],
    strategy: Strategy,
    rule_tables: RuleTables,
    now: float,
    partitions: Sequence[int] | None = None,
    metadata: Metadata | None = None,
    tombstones: Tombstones = Tombstones.DEAD,
    problems: Mapping[int, str] | None = None,
    clock: Clock = float,
) -> Iterator[None]:
    """Add the records of source messages to `departures`; a line that is not a record ends as a dead letter.

    Yield after each chunk of messages that was decided about, so that the caller may let other tasks run: rules may
    take long. Nothing is added before the end. `clock` returns seconds, by which the chunks are measured.

    `values[i]` is the value of the message at `offsets[i]` of the partition; `now` is in seconds since the epoch.
    If the messages come from several partitions, `partitions[i]` is that of each. `metadata` is that of the messages.
    A message without a value ends as `tombstones` says. `problems` is given for messages that were not JSON: each value
    is then one record, or bytes that could not be read, with the problem by its index.
    """
    batch = _Batch(strategy, rule_tables, now, tombstones, metadata, problems)
    most = max(1, CHUNK_BYTES * len(values) // (1 + sum(map(len, filter(None, values)))))
    yield from in_chunks(lambda part: batch.add(offsets[part], values[part]), len(values), most, clock)
    of_each = None
    if partitions is not None:
        per_message = zip(partitions, batch.counts, strict=True)
        of_each = tuple(chain.from_iterable(repeat(partition, count) for partition, count in per_message))
    of_records = batch.metadata()
    segment = Segment(tuple(batch.ids), tuple(batch.lines), now, partitions=of_each, metadata=of_records)
    departures.add_each(segment, batch.next_steps, ON_RAMP)


enter = at_once(enter_in_chunks)
"""Does all that `enter_in_chunks` does, at once."""


class _Batch:
    """The records of source messages, each with its id, its line and its next step."""

    def __init__(
        self,
        strategy: Strategy,
        rule_tables: RuleTables,
        now: float,
        tombstones: Tombstones,
        of_messages: Metadata | None,
        problems: Mapping[int, str] | None,
    ) -> None:
        """`of_messages` is the metadata of all messages; `now` and `problems` are those that `enter` takes."""
        self.strategy = strategy
        self.reader = strategy.reader(rule_tables, SOURCE)
        self.of_messages = of_messages
        self.problems = problems
        self.rule_tables = rule_tables
        self.now = now
        self.tombstone = ended(tombstones)
        self.ids: list[RecordId] = []
        self.lines: list[bytes] = []
        self.counts: list[int] = []
        """The number of lines of each message."""
        self.next_steps: list[NextStep] = []
        self.unpacked: dict[int, Metadata | None] = {}
        """The metadata of the records in messages that are envelopes, by the index of the message."""

    def metadata(self) -> Metadata | None:
        """Return the metadata of all records."""
        if not self.unpacked:
            if self.of_messages is None or len(self.ids) == len(self.counts):
                return self.of_messages
            return self.of_messages.repeated(self.counts)
        return joined([(self._metadata_in(place, count), count) for place, count in enumerate(self.counts)])

    def _metadata_in(self, place: int, count: int) -> Metadata | None:
        """Return the metadata of the `count` records in the message at an index."""
        if place in self.unpacked:
            return self.unpacked[place]
        return None if self.of_messages is None else self.of_messages.part([place]).repeated([count])

    def add(self, offsets: Sequence[int], values: Sequence[bytes | None]) -> None:
        """Add source messages. Usually every line is one record, and all lines are read at once."""
        plain = None if self._need_a_look(values) else read_plain(values, self.reader)
        if plain is None:
            for offset, value in zip(offsets, values, strict=True):
                self._add_lines(offset, value)
            return
        counts = [1] * len(values) if plain.counts is None else plain.counts
        metas = self._plain_metas(counts, len(plain.lines)) if self.reader.meta else None
        self.ids += offsets if plain.counts is None else _ids(offsets, counts)
        self.counts += counts
        self.lines += plain.lines
        self.next_steps += self.strategy.begin(self.rule_tables, plain.records, metas)

    def _need_a_look(self, values: Sequence[bytes | None]) -> bool:
        """Return whether some of the next messages may be envelopes, or could not be read."""
        if self.problems is None:
            return may_hold_packed(values)
        first = len(self.counts)
        return not self.problems.keys().isdisjoint(range(first, first + len(values)))

    def _plain_metas(self, counts: Sequence[int], records: int) -> RuleMetas:
        """Return the metadata that rules read of the records in the next messages."""
        first, own = len(self.counts), self.of_messages
        if own is not None:
            own = own.part(range(first, first + len(counts))).repeated(counts)
        return rule_metas(own, self.now, records, self.reader.meta)

    def _add_lines(self, offset: int, value: bytes | None) -> None:
        """Add a source message line by line; each line that is not a record becomes a dead letter."""
        if value is None:
            lines: Sequence[SourceLine] = (GONE,)
        else:
            lines = self._lines(value)
        own = self._metadata_in(len(self.counts), len(lines)) if self.reader.meta else None
        metas = rule_metas(own, self.now, len(lines), self.reader.meta)
        self.counts.append(len(lines))
        for index, line in enumerate(lines):
            self.ids.append(offset if len(lines) == 1 else (offset, index, len(lines)))
            if line is GONE:
                kept_line, decision = self.tombstone
                self.lines.append(kept_line)
                self.next_steps.append(decision)
            elif line.record is None:
                self.lines.append(kept(line.line))
                outcome = Outcome.dead(Cause.MALFORMED_RECORD, line.problem or "")
                self.next_steps.append(Decision(None, outcome, None, 0, NOTHING))
            else:
                self.lines.append(line.line)
                meta = None if metas is None else [metas[index]]
                self.next_steps += self.strategy.begin(self.rule_tables, [line.record], meta)

    def _lines(self, value: bytes) -> Sequence[SourceLine]:
        """Return the lines of the next message."""
        if self.problems is None:
            return self._unpack(value) if is_packed(value) else read_message(value)
        problem = self.problems.get(len(self.counts))
        return read_message(value) if problem is None else [SourceLine(value, None, problem)]

    def _unpack(self, value: bytes) -> Sequence[SourceLine]:
        """Return the records of an envelope that another line delivered."""
        try:
            segments = Envelope.decode(value).segments
        except MalformedEnvelope as error:
            return [SourceLine(value, None, str(error))]
        self.unpacked[len(self.counts)] = joined([(segment.metadata, len(segment.ids)) for segment in segments])
        lines = [one for segment in segments for one in segment.lines]
        return [GONE if one == GONE.line else read_message(one)[0] for one in lines]


def _ids(offsets: Sequence[int], counts: Sequence[int]) -> Iterator[RecordId]:
    """Yield the ids of the records in messages; `counts[i]` is the number of records in the message at `offsets[i]`."""
    for offset, count in zip(offsets, counts, strict=True):
        if count == 1:
            yield offset
        else:
            yield from [(offset, index, count) for index in range(count)]
