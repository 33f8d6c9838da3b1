"""Runs the same source records through a line under each strategy in turn, and compares the outcomes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError
from msgspec.structs import replace

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.app.compare.comparison import Comparison, Run
from metroline.app.compare.differences import EXAMPLES, Compared, differences, listed, wrong_sums
from metroline.app.compare.evidence import Evidence
from metroline.app.compare.final_records import AllRecords, DifferingRecords, FinalRecords, NoRecords
from metroline.app.compare.plan import Plan, Progress
from metroline.app.compare.repeated_ways import take_again
from metroline.app.compare.strategy_run import StrategyRun
from metroline.app.compare.unsteady_services import explained_by_services
from metroline.app.compare.variant import Variant, variants
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.inputs.row_files import UnreadableRecords
from metroline.app.inputs.source_loader import Sent, load
from metroline.app.inputs.source_records import packed, records_of
from metroline.app.markup.numbers import counted
from metroline.app.operations.comparison_runs import topic_prefix
from metroline.routing.records.source_messages import read_message

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
        self.line = plan.load_line()
        self.prefix = topic_prefix(plan.run or uuid.uuid4().hex[:10])

    async def run(self) -> Comparison:
        """Run all strategies.

        Records with different outcomes are listed in the comparison; a run that fails is raised as `RunFailed`.
        """
        self.line.rules_table()
        self.line.check_settings()
        prepare_lookups(self.line)
        source = f"{self.prefix}.source"
        try:
            sent = await self._load(source)
            runs: list[Run] = []
            problems: list[str] = []
            every = list(variants(self.plan))
            file = self.folder / "first.jsonl"
            with AllRecords(file, sent.records) if len(every) > 1 else nullcontext(NoRecords()) as records:
                compared: list[Compared] = []
                for variant in every:
                    kept: FinalRecords = DifferingRecords(compared[0].evidence) if compared else records
                    run, evidence = await self._run(variant, source, sent, kept)
                    runs.append(run)
                    problems += wrong_sums(run, evidence)
                    compared.append(Compared(variant.name, evidence, kept))
                different, unsteady = await self._differences(compared)
            problems += different
            return Comparison(
                self.line.name, sent.records, self.plan.broker_name, runs, not problems, problems, unsteady
            )
        finally:
            with suppress(ClusterError, KafkaError):  # a broker that is gone has taken its topics along
                await TopicAdmin(self.cluster).delete(await TopicAdmin(self.cluster).topics_below(self.prefix))

    async def _differences(self, compared: Sequence[Compared]) -> tuple[list[str], list[str]]:
        """Return the differences between the strategies, and those that come from services, one line each."""
        found, left_out = differences(compared)
        if not found:
            return [], []
        self.progress("looking at differences", 0, 0)
        sources = self._sources({index for difference in found for index in difference.indexes[:EXAMPLES]})
        take = partial(take_again, self.plan.where, self.line, folder=self.folder)
        left, unsteady = await explained_by_services(found, sources.get, take)
        described = [one.describe() for one in unsteady]
        more = left_out.outcomes + left_out.contents
        if not left and (not left_out.outcomes or any(one.path is None for one in found)):
            if more:
                described.append(f"{counted(more, 'more record')} with differences: too many to be looked at")
            return [], described
        names = [one.name for one in compared]
        return list(listed(left, names, lambda index: _record_in(sources.get(index)), more)), described

    def _sources(self, indexes: set[int]) -> dict[int, bytes]:
        """Return source messages with one record, by their indexes in the input."""
        read = enumerate(islice(self._records(), max(indexes) + 1))
        return {index: line for index, line in read if index in indexes and b"\n" not in line.strip()}

    async def _load(self, source: str) -> Sent:
        await TopicAdmin(self.cluster).create([TopicPlan(source, self.plan.partitions, self.plan.source_config)])
        sent, plan = Sent(), self.plan
        loading = load(
            self.cluster, source, self._records(), plan.partitions, pack=plan.pack, attributes=plan.attributes
        )
        async for sent in loading:
            self.progress("loading the source", sent.records, 0)
        if not sent.records:
            raise UnreadableRecords(f"--records {self.plan.records}: it holds no records")
        self.progress("loading the source", sent.records, sent.records)
        return sent

    async def _run(self, variant: Variant, source: str, sent: Sent, records: FinalRecords) -> tuple[Run, Evidence]:
        strategy_run = StrategyRun(
            variant, self.plan, self.cluster, self.prefix, self.folder, self.progress, self.check
        )
        run, evidence = await strategy_run.run(source, sent, records)
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
        if self.plan.recent is not None:
            return iter(self.plan.recent.lines)
        return records_of(self.plan.records, self.line, self.plan.seed, reading=self.plan.reading)


def _record_in(line: bytes | None) -> Any:
    """Return the record in a line; None if there is none."""
    return None if line is None else read_message(line)[0].record
