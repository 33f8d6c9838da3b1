"""The arrivals on a bench, with their tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import orjson

from metroline.agents.arrivals import Arrivals
from metroline.agents.delivery.end_topics import EndTopics
from metroline.agents.formats.formatted_ends import FormattedEnds
from metroline.agents.outcome_recorder import OutcomeRecorder
from metroline.agents.outcome_writer import OutcomeWriter
from metroline.agents.tables.latest import RecentEntries
from metroline.agents.tables.owned_table import OwnedTable
from metroline.routing.addresses import END
from metroline.routing.journeys.ends import End, Ends
from metroline.routing.journeys.kept_journeys import KEPT_PER_SECOND
from metroline.routing.journeys.settlement import SettledBlock
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.segment import Visit
from metroline.routing.outcome import Cause, Ending, Outcome
from tests.support.bench import Bench

DELIVERED = Outcome(Ending.DELIVERED)
DROPPED = Outcome.dropped("not wanted")
DEAD = Outcome.dead(Cause.SERVICE_ERROR, "ValueError: no")
PACKED_END = {END: End(is_packed=True)}
PLAIN_END = {END: End()}

PARTITIONS_OF_OTHERS = 3
"""The number of partitions of each end that is not the line's own."""

BEHIND_A = (Visit("a", 950.0, "all begin at a", "on-ramp", 1),)


@dataclass
class Desk:
    """The arrivals with their tables."""

    bench: Bench
    outcomes: OwnedTable
    journeys: RecentEntries
    letters: RecentEntries
    arrivals: Arrivals = field(init=False)
    is_member: bool = True
    """The coordinator's answer to the question whether the worker owns its partitions."""

    @classmethod
    def on(
        cls,
        bench: Bench,
        ends: Ends | None = None,
        formats: FormattedEnds | None = None,
        kept_per_second: int = KEPT_PER_SECOND,
    ) -> Desk:
        """Return arrivals that deliver at these ends; by default at one that is packed."""
        outcomes, journeys, letters = (bench.table(name) for name in ("outcomes", "journeys", "dead_letters"))
        shown = RecentEntries(journeys), RecentEntries(letters)
        return cls._of(bench, outcomes, *shown, ends or PACKED_END, formats, kept_per_second)

    def restarted(self) -> Desk:
        """Return new arrivals with the same tables and an empty memory."""
        recent = RecentEntries(self.journeys.table), RecentEntries(self.letters.table)
        return self._of(self.bench, self.outcomes, *recent, self.arrivals.writer.ends.ends)

    @classmethod
    def _of(
        cls,
        bench: Bench,
        outcomes: OwnedTable,
        journeys: RecentEntries,
        letters: RecentEntries,
        ends: Ends,
        formats: FormattedEnds | None = None,
        kept_per_second: int = KEPT_PER_SECOND,
    ) -> Desk:
        loop = bench.agent_loop
        desk = cls(bench, outcomes, journeys, letters)

        async def is_member() -> bool:
            return desk.is_member

        recorder = OutcomeRecorder(loop.bus, outcomes, journeys, letters, loop.clock, is_member, kept_per_second)
        writer = OutcomeWriter(recorder, EndTopics(ends, bench.topics, desk.count))
        desk.arrivals = Arrivals(loop, bench.rule_tables, outcomes, writer, formats)
        return desk

    async def count(self, topics: Collection[str]) -> dict[str, int]:
        """Answer the question how many partitions topics of others have."""
        return dict.fromkeys(topics, PARTITIONS_OF_OTHERS)

    async def settle(self, *incoming: Envelope) -> None:
        for one in incoming:
            await self.bench.complete(self.arrivals.handle, one)

    def blocks(self) -> Iterable[tuple[str, SettledBlock]]:
        """Return the latest value of each block that was sent to the changelog."""
        latest = {sent.key: sent.value for sent in self.bench.producer.to("test.table.outcomes")}
        return [(str(key, "utf-8"), SettledBlock.decode(orjson.loads(value))) for key, value in latest.items() if key]

    def counts(self) -> dict[tuple[str, str, str], int]:
        return dict(sum((block.counts for _, block in self.blocks()), Counter[tuple[str, str, str]]()))

    def duplicates(self) -> int:
        return sum(block.duplicates for _, block in self.blocks())
