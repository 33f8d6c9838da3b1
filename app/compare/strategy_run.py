"""Runs records through a line under one strategy, on worker processes and topics of its own, and measures it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.outcomes import read_settled
from metroline.app.compare.comparison import Latency, Run, route_name
from metroline.app.compare.evidence import Evidence, read_delivery_times, read_outcomes
from metroline.app.compare.plan import Plan, Progress, RunFailed
from metroline.app.compare.results_file import ResultsFile
from metroline.app.compare.worker_reports import WorkerReport, cpu_seconds, elapsed
from metroline.app.inputs.source_loader import Sent, load
from metroline.app.local.worker_process import AT_LOAD, WorkerProcess, stop_all
from metroline.routing.outcome import Ending

STALL_SECONDS = 60.0
"""A run fails after this time without a settled record."""
POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class StrategyRun:
    """One strategy of a comparison. Its topics begin with `prefix`, and its workers log to `folder`."""

    strategy: str
    plan: Plan
    cluster: Cluster
    prefix: str
    folder: Path
    progress: Progress
    check: Callable[[], None]
    """Raises if the broker is gone."""

    async def run(self, source: str, sent: Sent) -> tuple[Run, Evidence]:
        """Run everything on the topic `source`; return the figures and what became of each record."""
        topics = Topics(f"{self.prefix}.{self.strategy}", source)
        waits = {"FETCH_WAIT": AT_LOAD} if "FETCH_WAIT" in self.plan.environment else {}
        with self._workers(topics, waits) as workers:
            for worker in workers:
                await asyncio.to_thread(worker.wait_until_ready)
            reports = await self._until_settled(self.strategy, workers, sent.records)
        with self._results(sent) as file:
            evidence = await read_outcomes(self.cluster, topics, sent, file)
        run = await self._figures(topics, sent, reports, evidence)
        await TopicAdmin(self.cluster).delete(await TopicAdmin(self.cluster).topics_below(topics.prefix))
        return run, evidence

    async def latency(self, records: Iterator[bytes], rate: float) -> Latency:
        """Send records to a source of their own, `rate` a second, and measure until each is written as delivered."""
        step = f"{self.strategy} at {rate:g}/s"
        prefix = f"{self.prefix}.{self.strategy}-latency"
        topics = Topics(prefix, f"{prefix}.source")
        await TopicAdmin(self.cluster).create([TopicPlan(topics.source, self.plan.partitions)])
        sent = Sent()
        with self._workers(topics) as workers:
            for worker in workers:
                await asyncio.to_thread(worker.wait_until_ready)
            async for sent in load(self.cluster, topics.source, records, self.plan.partitions, rate, self.plan.pack):
                self.progress(step, sent.records, 0)
            await self._until_settled(step, workers, sent.records)
        written = await read_delivery_times(self.cluster, topics)
        waits = [1000 * (at - sent.times[sent.index(*key)]) for key, at in written.items()]
        await TopicAdmin(self.cluster).delete(await TopicAdmin(self.cluster).topics_below(prefix))
        if len(waits) < 2:
            raise RunFailed(f"{step}: {len(waits)} records were delivered, too few to measure the latency")
        percentiles = statistics.quantiles(waits, n=100, method="inclusive")
        return Latency(round(percentiles[49], 1), round(percentiles[98], 1))

    def _results(self, sent: Sent) -> ResultsFile | nullcontext[None]:
        folder = self.plan.results
        return ResultsFile(folder / f"{self.strategy}.jsonl", sent.records) if folder else nullcontext()

    @contextmanager
    def _workers(self, topics: Topics, more: Mapping[str, str] | None = None) -> Iterator[list[WorkerProcess]]:
        variables = {
            **self.plan.environment,
            "LINE": self.plan.where,
            "PREFIX": topics.prefix,
            "SOURCE": topics.source,
            "ROUTING_STRATEGY": self.strategy,
            "ROLE": "all",
            "CHAINING": "off",  # what strategies differ by is hops on the bus
            "BROKER_URL": self.plan.broker_url,
            "LOG_LEVEL": "warning",
            **(more or {}),
        }
        workers: list[WorkerProcess] = []
        try:
            for number in range(self.plan.workers):
                workers.append(WorkerProcess.start(variables, self.folder / f"{self.strategy}-{number}.log"))
            yield workers
        finally:
            stop_all(workers)

    async def _until_settled(self, step: str, workers: list[WorkerProcess], wanted: int) -> list[WorkerReport]:
        """Wait until every record has its outcome; return the reports of the workers that took part."""
        best, moved_at = -1, time.monotonic()
        while True:
            self.check()
            for worker in workers:
                worker.check()
            answers = [await asyncio.to_thread(worker.get, "/traffic/") for worker in workers]
            reports = [WorkerReport.of_json(answer) for answer in answers if answer]
            settled = sum(each.records_settled for each in reports)
            self.progress(step, settled, wanted)
            if settled >= wanted and len(reports) == len(workers):
                return [each for each in reports if each.first]
            if settled > best:
                best, moved_at = settled, time.monotonic()
            if time.monotonic() - moved_at > STALL_SECONDS:
                raise RunFailed(
                    f"{step}: {settled} of {wanted} records have an outcome, and no more came for {STALL_SECONDS:g} s; "
                    f"{workers[0].child.last_words()}"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _figures(self, topics: Topics, sent: Sent, reports: list[WorkerReport], evidence: Evidence) -> Run:
        settled = await read_settled(self.cluster, topics)
        seconds, cpu = elapsed(reports), cpu_seconds(reports)
        traffic = [address for each in reports for address in each.on_the_bus()]
        return Run(
            self.strategy,
            sent.records,
            delivered=settled.endings[Ending.DELIVERED],
            dropped=settled.endings[Ending.DROPPED],
            dead=settled.endings[Ending.DEAD],
            duplicates=settled.duplicates,
            records_per_second=round(sent.records / seconds, 1) if seconds else 0.0,
            latency_ms=None,
            hops_per_record=round(settled.hops / sent.records, 4),
            bus_messages_per_record=round(sum(each.messages for each in traffic) / sent.records, 5),
            bus_bytes_per_record=round(sum(each.bytes for each in traffic) / sent.records, 1),
            cpu_seconds_per_10k=round(cpu / sent.records * 10_000, 4),
            routes={
                route_name(route): {ending: counts[ending] for ending in Ending}
                for route, counts in evidence.routes().items()
            },
        )
