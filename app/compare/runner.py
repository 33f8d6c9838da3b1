"""Runs the same source records through a line under each strategy in turn, and compares the outcomes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from aiokafka.errors import KafkaError
from msgspec.structs import replace

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.services.line import Line
from metroline.app.compare.comparison import Comparison, Run
from metroline.app.compare.differences import differing_records, wrong_sums
from metroline.app.compare.evidence import Evidence
from metroline.app.compare.plan import Plan, Progress
from metroline.app.compare.strategy_run import StrategyRun
from metroline.app.compare.variant import Variant, variants
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.inputs.row_files import UnreadableRecords
from metroline.app.inputs.source_loader import Sent, load
from metroline.app.inputs.source_records import packed, records_of

STREAM_RECORDS, STREAM_BYTES = 20_000, 64_000_000
"""Records that are sent at a rate, from the first on; they begin again when all were sent."""
FIRST_SHARE = 4
"""The search for the highest rate begins at the speed with a full backlog divided by this."""


class ComparisonRun:
    """Loads the source topic once, runs each strategy on topics of its own, and deletes every topic that it made."""

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

    async def run(self) -> Comparison:
        """Run all strategies.

        Records with different outcomes are listed in the comparison; a run that fails is raised as `RunFailed`.
        """
        self.line.rules_table()
        prepare_lookups(self.line)
        source = f"{self.prefix}.source"
        try:
            sent = await self._load(source)
            runs: list[Run] = []
            differences: list[str] = []
            first: tuple[str, Evidence] | None = None
            for variant in variants(self.plan):
                run, evidence = await self._run(variant, source, sent)
                runs.append(run)
                differences += wrong_sums(run, evidence)
                if first is None:
                    first = (variant.name, evidence)
                else:
                    differences += differing_records(*first, variant.name, evidence)
            return Comparison(self.line.name, sent.records, self.plan.broker_name, runs, not differences, differences)
        finally:
            with suppress(ClusterError, KafkaError):  # a broker that is gone has taken its topics along
                await TopicAdmin(self.cluster).delete(await TopicAdmin(self.cluster).topics_below(self.prefix))

    async def _load(self, source: str) -> Sent:
        await TopicAdmin(self.cluster).create([TopicPlan(source, self.plan.partitions)])
        sent = Sent()
        async for sent in load(self.cluster, source, self._records(), self.plan.partitions, pack=self.plan.pack):
            self.progress("loading the source", sent.records, 0)
        if not sent.records:
            raise UnreadableRecords(f"--records {self.plan.records}: it holds no records")
        self.progress("loading the source", sent.records, sent.records)
        return sent

    async def _run(self, variant: Variant, source: str, sent: Sent) -> tuple[Run, Evidence]:
        strategy_run = StrategyRun(
            variant, self.plan, self.cluster, self.prefix, self.folder, self.progress, self.check
        )
        run, evidence = await strategy_run.run(source, sent)
        if self.plan.finds_highest_rate:
            start = round(run.records_per_second / FIRST_SHARE)
            highest, pace, latency = await strategy_run.highest_rate(self._stream(), start)
            run = replace(run, highest_rate=highest, pace=pace, latency_ms=latency)
        elif self.plan.rate:
            pace, latency = await strategy_run.at_rate(self._stream(), self.plan.rate)
            run = replace(run, pace=pace, latency_ms=latency)
        return run, evidence

    def _stream(self) -> list[tuple[bytes, int]]:
        """Return the source messages to send at a rate, ready, so that reading them does not slow the sender down."""
        found: list[tuple[bytes, int]] = []
        size = 0
        for message, count in packed(islice(self._records(), STREAM_RECORDS), self.plan.pack):
            found.append((message, count))
            size += len(message)
            if size > STREAM_BYTES:
                break
        return found

    def _records(self) -> Iterator[bytes]:
        return records_of(self.plan.records, self.line, self.plan.seed, reading=self.plan.reading)
