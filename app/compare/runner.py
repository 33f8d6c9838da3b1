"""Runs the same source records through a line under each strategy in turn, on real worker processes."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from metroline.agents.kafka.cluster import Cluster, ClusterError, TopicPlan
from metroline.agents.kafka.topics import Topics
from metroline.agents.services.line import Line
from metroline.app.compare.comparison import Comparison, Run
from metroline.app.compare.evidence import Evidence, ResultsFile, read_delivered, read_outcomes, read_settled
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.inputs.row_files import UnreadableRecords
from metroline.app.inputs.source_records import Sent, load, records_of
from metroline.app.local.worker_process import AT_LOAD, WorkerProcess, stop_all
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import MetrolineError
from metroline.routing.messages.itinerary import Decider
from metroline.routing.outcome import Ending

STALL_SECONDS = 60.0
"""Without a single settled record for so long, a run has failed."""

RATE_SECONDS = 10
"""How long the latency is measured for, at most."""

MOST_DIFFERENCES = 10

Progress = Callable[[str, int, int], None]
"""Told what goes on, how many records it has come to, and of how many."""


class RunFailed(MetrolineError):
    """Raised when a run of a comparison does not come to its end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a comparison does."""

    where: str
    """The line: a package or a folder."""
    records: str
    strategies: tuple[str, ...]
    broker_url: str
    broker_name: str
    environment: dict[str, str]
    """Variables of the workers beside those that a run sets itself."""
    rate: float | None = None
    results: Path | None = None
    partitions: int = 4
    workers: int = 1
    seed: int = 1
    pack: int = 1
    """Records in a source message."""


class Comparing:
    """A comparison: loads the source topic once, runs each strategy on topics of its own, deletes what it made."""

    def __init__(
        self, plan: Plan, cluster: Cluster, folder: Path, progress: Progress, check: Callable[[], None]
    ) -> None:
        self.plan = plan
        self.cluster = cluster
        self.check = check
        self.folder = folder
        self.progress = progress
        self.line = Line.load(plan.where)
        self.prefix = f"metroline-{uuid.uuid4().hex[:10]}"
        self._reference: tuple[str, Evidence] | None = None

    async def run(self) -> Comparison:
        """Runs all strategies; what went wrong with records is in the comparison, what failed is raised."""
        self.line.rules_table()
        prepare_lookups(self.line)
        source = f"{self.prefix}.source"
        try:
            sent = await self._load(source)
            comparison = Comparison(self.line.name, sent.records, self.plan.broker_name)
            for strategy in self.plan.strategies:
                run, evidence = await self._run(strategy, source, sent)
                if self.plan.rate:
                    run.latency_ms = await self._latency(strategy, self.plan.rate)
                comparison.runs.append(run)
                comparison.differences += self._compare(run, evidence)
            return comparison
        finally:
            with suppress(ClusterError, KafkaError):  # a broker that is gone has taken them along
                await self.cluster.delete(await self.cluster.topics_below(self.prefix))

    async def _load(self, source: str) -> Sent:
        await self.cluster.create([TopicPlan(source, self.plan.partitions)])
        sent = Sent()
        records = records_of(self.plan.records, self.line, self.plan.seed)
        async for sent in load(self.cluster, source, records, self.plan.partitions, pack=self.plan.pack):
            self.progress("loading the source", sent.records, 0)
        if not sent.records:
            raise UnreadableRecords(f"--records {self.plan.records}: there are no records in it")
        self.progress("loading the source", sent.records, sent.records)
        return sent

    async def _run(self, strategy: str, source: str, sent: Sent) -> tuple[Run, Evidence]:
        topics = Topics(f"{self.prefix}.{strategy}", source)
        results = self.plan.results
        waits = {"FETCH_WAIT": AT_LOAD} if "FETCH_WAIT" in self.plan.environment else {}
        with self._workers(strategy, topics, waits) as workers:
            for worker in workers:
                await asyncio.to_thread(worker.wait_until_ready)
            meters = await self._settled(strategy, workers, sent.records)
        with ResultsFile(results / f"{strategy}.jsonl", sent.records) if results else nullcontext() as file:
            evidence = await read_outcomes(self.cluster, topics, sent, file)
        run = await self._figures(strategy, topics, sent, meters, evidence)
        await self.cluster.delete(await self.cluster.topics_below(topics.prefix))
        return run, evidence

    @contextmanager
    def _workers(
        self, strategy: str, topics: Topics, more: Mapping[str, str] | None = None
    ) -> Iterator[list[WorkerProcess]]:
        variables = (
            self.plan.environment
            | {
                "LINE": self.plan.where,
                "PREFIX": topics.prefix,
                "SOURCE": topics.source,
                "ROUTING_STRATEGY": strategy,
                "ROLE": "all",
                "BROKER_URL": self.plan.broker_url,
                "LOG_LEVEL": "warning",
            }
            | dict(more or {})
        )
        workers: list[WorkerProcess] = []
        try:
            for number in range(self.plan.workers):
                workers.append(WorkerProcess.start(variables, self.folder / f"{strategy}-{number}.log"))
            yield workers
        finally:
            stop_all(workers)

    async def _settled(self, strategy: str, workers: list[WorkerProcess], wanted: int) -> list[dict[str, Any]]:
        """Waits until every record has its outcome; gives what the workers say of themselves then."""
        best, moved_at = -1, time.monotonic()
        while True:
            self.check()
            for worker in workers:
                worker.check()
            meters = [await asyncio.to_thread(worker.get, "/traffic/") for worker in workers]
            settled = sum(sum(metrics["settled"].values()) for metrics in meters if metrics)
            self.progress(strategy, settled, wanted)
            if settled >= wanted and all(meters):
                return [metrics for metrics in meters if metrics["first"]]
            if settled > best:
                best, moved_at = settled, time.monotonic()
            if time.monotonic() - moved_at > STALL_SECONDS:
                raise RunFailed(
                    f"{strategy}: {settled} of {wanted} records have an outcome, none came for {STALL_SECONDS:g} s; "
                    f"{workers[0].child.last_words()}"
                )
            await asyncio.sleep(0.25)

    async def _figures(
        self, strategy: str, topics: Topics, sent: Sent, meters: list[dict[str, Any]], evidence: Evidence
    ) -> Run:
        settled = await read_settled(self.cluster, topics)
        seconds = max(metrics["last"][0] for metrics in meters) - min(metrics["first"][0] for metrics in meters)
        cpu = sum(metrics["last"][1] - metrics["first"][1] for metrics in meters)
        traffic = [
            entry
            for metrics in meters
            for address, entry in metrics["traffic"].items()
            if address.startswith("service.") or address in (ARRIVALS, *(ask.value for ask in Decider))
        ]
        return Run(
            strategy,
            sent.records,
            delivered=settled.endings[Ending.DELIVERED],
            dropped=settled.endings[Ending.DROPPED],
            dead=settled.endings[Ending.DEAD],
            duplicates=settled.duplicates,
            records_per_second=round(sent.records / seconds, 1) if seconds else 0.0,
            hops_per_record=round(settled.hops / sent.records, 4),
            bus_messages_per_record=round(sum(entry["messages"] for entry in traffic) / sent.records, 5),
            bus_bytes_per_record=round(sum(entry["bytes"] for entry in traffic) / sent.records, 1),
            cpu_seconds_per_10k=round(cpu / sent.records * 10_000, 4),
            routes=evidence.routes(),
        )

    async def _latency(self, strategy: str, rate: float) -> dict[str, float]:
        """Sends some of the records again at a steady rate; ms from sending to writing of each delivered one."""
        prefix = f"{self.prefix}.{strategy}-latency"
        topics = Topics(prefix, f"{prefix}.source")
        await self.cluster.create([TopicPlan(topics.source, self.plan.partitions)])
        sent = Sent()
        with self._workers(strategy, topics) as workers:
            for worker in workers:
                await asyncio.to_thread(worker.wait_until_ready)
            records = self._some(int(rate * RATE_SECONDS))
            async for sent in load(self.cluster, topics.source, records, self.plan.partitions, rate, self.plan.pack):
                self.progress(f"{strategy} at {rate:g}/s", sent.records, 0)
            await self._settled(f"{strategy} at {rate:g}/s", workers, sent.records)
        _, written = await read_delivered(self.cluster, topics)
        waits = [1000 * (at - sent.times[sent.index(*key)]) for key, at in written.items()]
        await self.cluster.delete(await self.cluster.topics_below(prefix))
        if len(waits) < 2:
            raise RunFailed(f"{strategy}: {len(waits)} records were delivered at {rate:g}/s: too few to tell a latency")
        percentiles = statistics.quantiles(waits, n=100, method="inclusive")
        return {"p50": round(percentiles[49], 1), "p99": round(percentiles[98], 1)}

    def _some(self, count: int) -> Iterator[bytes]:
        for place, message in enumerate(records_of(self.plan.records, self.line, self.plan.seed)):
            if place >= count:
                return
            yield message

    def _compare(self, run: Run, evidence: Evidence) -> list[str]:
        """What differs from the first run, and what does not add up."""
        found = []
        name = run.strategy
        if not run.adds_up:
            found.append(
                f"{name}: sent {run.sent} is not delivered {run.delivered} + dropped {run.dropped} + dead {run.dead}"
            )
        seen = evidence.endings()
        counted = {Ending.DELIVERED: run.delivered, Ending.DROPPED: run.dropped, Ending.DEAD: run.dead}
        found += [
            f"{name}: {count} records are counted as {ending.value}, {seen[ending]} came to the arrivals so"
            for ending, count in counted.items()
            if seen[ending] != count
        ]
        if self._reference is None:
            self._reference = (name, evidence)
            return found
        return found + _differing(*self._reference, name, evidence)


def _differing(first_name: str, first: Evidence, name: str, other: Evidence) -> list[str]:
    found = []
    total = 0
    for index, (one, two) in enumerate(zip(first.ways, other.ways, strict=True)):
        if one == two and first.contents[index] == other.contents[index]:
            continue
        total += 1
        if total <= MOST_DIFFERENCES:
            what = (
                f"{_told(one)} under {first_name}, {_told(two)} under {name}"
                if one != two
                else "other content at the end"
            )
            found.append(
                f"record {index}: {what}" if one != two else f"record {index}: {what} under {first_name} and {name}"
            )
    if total > MOST_DIFFERENCES:
        found.append(f"{total - MOST_DIFFERENCES} more records differ between {first_name} and {name}")
    return found


def _told(way: Any) -> str:
    if way is None:
        return "no outcome"
    stops, ending, reason = way
    return f"{' > '.join(stops) or 'no stop'}, {ending.value}" + (f" ({reason})" if reason else "")
