"""Runs records through a line under one strategy, on worker processes and topics of its own, and measures it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.outcomes import read_settled
from metroline.app.compare.comparison import Latency, Pace, Run, route_name
from metroline.app.compare.evidence import Evidence, read_outcomes
from metroline.app.compare.final_records import FinalRecords
from metroline.app.compare.highest_rate import HELD_P99_MS, RateSearch
from metroline.app.compare.paced_source import PacedSource
from metroline.app.compare.plan import Plan, Progress, RunFailed
from metroline.app.compare.rate_run import Messages, RateRun
from metroline.app.compare.results_file import ResultsFile
from metroline.app.compare.strategy_workers import StrategyWorkers, running_workers
from metroline.app.compare.variant import Variant
from metroline.app.compare.worker_reports import WorkerReport, cpu_seconds, elapsed
from metroline.app.inputs.source_loader import Sent
from metroline.app.local.worker_process import AT_LOAD
from metroline.routing.outcome import Ending

STALL_SECONDS = 60.0
"""A run fails after this time without a settled record."""
POLL_SECONDS = 0.25
LOWEST_RATE = 10.0


@dataclass(frozen=True, slots=True)
class StrategyRun:
    """One variant of a comparison. Its topics begin with `prefix`, and its workers log to `folder`."""

    variant: Variant
    plan: Plan
    cluster: Cluster
    prefix: str
    folder: Path
    progress: Progress
    check: Callable[[], None]
    """Raises if the broker is gone."""

    async def run(self, source: str, sent: Sent, records: FinalRecords) -> tuple[Run, Evidence]:
        """Run everything on the topic `source`; return the figures and what became of each record.

        The final content of each record is offered to `records`.
        """
        topics = Topics(f"{self.prefix}.{self.variant.slug}", source)
        waits = {"FETCH_WAIT": AT_LOAD} if "FETCH_WAIT" in self.plan.environment else {}
        async with running_workers(self.variant, self.plan, topics, self.folder, self.check, waits) as workers:
            reports = await self._until_settled(workers, sent.records)
        with self._results(sent) as file:
            evidence = await read_outcomes(self.cluster, topics, sent, records.take, file)
        run = await self._figures(topics, sent, reports, evidence)
        await self._delete(topics)
        return run, evidence

    async def at_rate(self, messages: Messages, rate: float) -> tuple[Pace, Latency | None]:
        """Send messages to a source of their own at a steady rate, in records per second."""
        async with self._warm(messages) as run:
            return await run.at(rate, self.plan.seconds)

    async def highest_rate(self, messages: Messages, start: float) -> tuple[float, Pace | None, Latency | None]:
        """Return the highest rate that is held, with the pace and latency at it; 0 if none is held.

        The search begins at `start`. Workers that have fallen behind at a rate are not used for the next one.
        """
        search = RateSearch(max(start, LOWEST_RATE), LOWEST_RATE)
        best: tuple[Pace | None, Latency | None] = (None, None)
        async with AsyncExitStack() as process:
            run: RateRun | None = None
            while (rate := search.next_rate()) is not None:
                if run is None:
                    run = await process.enter_async_context(self._warm(messages))
                pace, latency = await run.at(rate, self.plan.seconds)
                held = pace.kept_up and latency is not None and latency.p99 <= HELD_P99_MS
                search.note(rate, held=held)
                if held and rate == search.held:
                    best = (pace, latency)
                if not pace.kept_up:
                    await process.aclose()
                    run = None
        return search.held or 0.0, *best

    @asynccontextmanager
    async def _warm(self, messages: Messages) -> AsyncIterator[RateRun]:
        """Run warm workers on a source of their own until the block ends; then delete their topics."""
        prefix = f"{self.prefix}.{self.variant.slug}-rate"
        topics = Topics(prefix, f"{prefix}.source")
        await TopicAdmin(self.cluster).create([TopicPlan(topics.source, self.plan.partitions, self.plan.source_config)])
        source = PacedSource(self.cluster.librdkafka, topics.source, self.plan.partitions, self.plan.attributes)
        more = self.variant.at_a_rate
        async with running_workers(self.variant, self.plan, topics, self.folder, self.check, more) as workers:
            run = RateRun(self.variant.name, workers, self.cluster, topics, source, messages, self.progress)
            await run.warm_up()
            yield run
        await self._delete(topics)

    async def _delete(self, topics: Topics) -> None:
        await TopicAdmin(self.cluster).delete(await TopicAdmin(self.cluster).topics_below(topics.prefix))

    def _results(self, sent: Sent) -> ResultsFile | nullcontext[None]:
        folder = self.plan.results
        return ResultsFile(folder / f"{self.variant.slug}.jsonl", sent.records) if folder else nullcontext()

    async def _until_settled(self, workers: StrategyWorkers, wanted: int) -> list[WorkerReport]:
        """Wait until every record has its outcome; return the reports of the workers that took part."""
        best, moved_at = -1, time.monotonic()
        while True:
            reports = await workers.reports()
            settled = sum(each.records_settled for each in reports)
            self.progress(self.variant.name, settled, wanted)
            if settled >= wanted and len(reports) == self.plan.workers:
                return [each for each in reports if each.first]
            if settled > best:
                best, moved_at = settled, time.monotonic()
            if time.monotonic() - moved_at > STALL_SECONDS:
                raise RunFailed(
                    f"{self.variant.name}: {settled} of {wanted} records have an outcome, and no more came for"
                    f" {STALL_SECONDS:g} s; {workers.last_words()}"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _figures(self, topics: Topics, sent: Sent, reports: list[WorkerReport], evidence: Evidence) -> Run:
        settled = await read_settled(self.cluster, topics)
        seconds, cpu = elapsed(reports), cpu_seconds(reports)
        traffic = [address for each in reports for address in each.on_the_bus()]
        return Run(
            self.variant.strategy,
            self.variant.chaining,
            sent.records,
            delivered=settled.endings[Ending.DELIVERED],
            dropped=settled.endings[Ending.DROPPED],
            dead=settled.endings[Ending.DEAD],
            duplicates=settled.duplicates,
            records_per_second=round(sent.records / seconds, 1) if seconds else 0.0,
            latency_ms=None,
            pace=None,
            highest_rate=None,
            hops_per_record=round(settled.hops / sent.records, 4),
            bus_messages_per_record=round(sum(each.messages for each in traffic) / sent.records, 5),
            bus_bytes_per_record=round(sum(each.bytes for each in traffic) / sent.records, 1),
            cpu_seconds_per_10k=round(cpu / sent.records * 10_000, 4),
            routes={
                route_name(route): {ending: counts[ending] for ending in Ending}
                for route, counts in evidence.routes().items()
            },
            ends=evidence.ends(),
        )
