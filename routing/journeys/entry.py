"""Source messages become a segment whose records have their ids, their lines and their next steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metroline.agents.tables.live_rules import LiveRules
from metroline.routing.addresses import SOURCE
from metroline.routing.journeys.dead_letters import kept
from metroline.routing.messages.itinerary import Decision, NextStep
from metroline.routing.messages.record_ids import RecordId
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.records.field_sets import NOTHING
from metroline.routing.records.source_messages import read_message, read_plain
from metroline.routing.strategies import Strategy

CHUNK_BYTES = 24 * 1024
"""Source messages that are read together; where one of them needs a closer look, all of them get it."""


class Batch:
    """The records of a batch of source messages, each with its id, its line and its way."""

    def __init__(self, strategy: Strategy, rule_tables: LiveRules) -> None:
        self.strategy = strategy
        self.rule_tables = rule_tables.rule_tables
        self.ids: list[RecordId] = []
        self.lines: list[bytes] = []
        self.next_steps: list[NextStep] = []

    def add(self, offsets: Sequence[int], values: Sequence[bytes | None]) -> None:
        """Takes source messages; nearly always each line is one record, and all are read at once."""
        plain = read_plain(values, self.strategy.reader(self.rule_tables, SOURCE))
        if plain is None:
            for offset, value in zip(offsets, values, strict=True):
                self._add_lines(offset, value)
            return
        self.ids += offsets if plain.counts is None else _ids(offsets, plain.counts)
        self.lines += plain.lines
        self.next_steps += self.strategy.begin(self.rule_tables, plain.records)

    def _add_lines(self, offset: int, value: bytes | None) -> None:
        """Takes a source message line by line: a line that is no record is a dead letter of its own."""
        lines = read_message(value)
        for index, line in enumerate(lines):
            self.ids.append(offset if len(lines) == 1 else (offset, index, len(lines)))
            if line.record is None:
                self.lines.append(kept(line.line))
                outcome = Outcome.dead(Cause.MALFORMED_RECORD, line.problem or "")
                self.next_steps.append(Decision(None, outcome, None, 0, NOTHING))
            else:
                self.lines.append(line.line)
                self.next_steps += self.strategy.begin(self.rule_tables, [line.record])

    def segment(self, at: float) -> Segment:
        """All of them, before they go their ways."""
        return Segment(tuple(self.ids), tuple(self.lines), at)


def _ids(offsets: Sequence[int], counts: Sequence[int]) -> Iterator[RecordId]:
    """The ids of records that came so many to a message."""
    for offset, count in zip(offsets, counts, strict=True):
        if count == 1:
            yield offset
        else:
            yield from [(offset, index, count) for index in range(count)]
