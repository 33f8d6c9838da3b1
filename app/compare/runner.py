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
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.inputs.row_files import UnreadableRecords
from metroline.app.inputs.source_loader import Sent, load
from metroline.app.inputs.source_records import records_of

LATENCY_SECONDS = 10
"""Longest time that the latency is measured for."""


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
            for strategy in self.plan.strategies:
                run, evidence = await self._run(strategy, source, sent)
                runs.append(run)
                differences += wrong_sums(run, evidence)
                if first is None:
                    first = (strategy, evidence)
                else:
                    differences += differing_records(*first, strategy, evidence)
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

    async def _run(self, strategy: str, source: str, sent: Sent) -> tuple[Run, Evidence]:
        strategy_run = StrategyRun(
            strategy, self.plan, self.cluster, self.prefix, self.folder, self.progress, self.check
        )
        run, evidence = await strategy_run.run(source, sent)
        if self.plan.rate:
            records = islice(self._records(), int(self.plan.rate * LATENCY_SECONDS))
            run = replace(run, latency_ms=await strategy_run.latency(records, self.plan.rate))
        return run, evidence

    def _records(self) -> Iterator[bytes]:
        return records_of(self.plan.records, self.line, self.plan.seed)
