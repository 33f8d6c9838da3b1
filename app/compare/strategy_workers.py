"""The worker processes of one run of a comparison, and what they report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from metroline.agents.kafka.topics import Topics
from metroline.app.compare.plan import Plan
from metroline.app.compare.variant import Variant
from metroline.app.compare.worker_reports import WorkerReport
from metroline.app.local.worker_process import WorkerProcess, stop_all


@dataclass(slots=True)
class StrategyWorkers:
    """Running workers; `check` raises if the broker is gone."""

    workers: list[WorkerProcess]
    check: Callable[[], None]
    _last: dict[int, WorkerReport] = field(default_factory=dict)
    """The last report of each worker, by its place in the list."""

    async def reports(self) -> list[WorkerReport]:
        """Return the last report of each worker that has reported. Raise `WorkerDied` if one has ended."""
        self.check()
        for worker in self.workers:
            worker.check()
        answers = await asyncio.gather(*(asyncio.to_thread(worker.get, "/traffic/") for worker in self.workers))
        self._last |= {place: WorkerReport.of_json(answer) for place, answer in enumerate(answers) if answer}
        return list(self._last.values())

    async def settled(self) -> int:
        """Return the number of records that have an outcome, as far as the workers have answered."""
        return sum(report.records_settled for report in await self.reports())

    def last_words(self) -> str:
        return self.workers[0].child.last_words()


def worker_environment(
    variant: Variant, plan: Plan, topics: Topics, more: Mapping[str, str], rules: str = ""
) -> dict[str, str]:
    """Return the environment variables of a worker, which overrule what the line says about its topics.

    `rules` is the file with the rules; empty for that of the line.
    """
    return {
        **plan.environment,
        **variant.environment,
        "LINE": plan.where,
        "PREFIX": topics.prefix,
        "SOURCE": topics.source,
        "ROLE": "all",
        "BROKER_URL": plan.broker_url,
        "ACKNOWLEDGED_MESSAGES": "keep",  # the evidence of what became of each record is read from the topics
        "LOG_LEVEL": "warning",
        "SOURCE_FORMAT": "json",
        "RULES_FILE": rules,
        "END_TOPICS": "delivered",  # a comparison writes to no topics but its own
        "SCHEDULES": "off",  # the records of all runs are the same
        "DELIVERED_FORMAT": "packed",  # plain messages have the timestamp of their source message
        **more,
    }


@asynccontextmanager
async def running_workers(
    variant: Variant,
    plan: Plan,
    topics: Topics,
    folder: Path,
    check: Callable[[], None],
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[StrategyWorkers]:
    """Run the plan's number of workers until the block ends; they log to `folder`, and their web servers answer."""
    rules = folder / "rules.toml"
    if plan.rules is not None:
        rules.write_text(plan.rules, "utf-8")
    variables = worker_environment(variant, plan, topics, more or {}, "" if plan.rules is None else str(rules))
    workers: list[WorkerProcess] = []
    try:
        for number in range(plan.workers):
            workers.append(WorkerProcess.start(variables, folder / f"{variant.slug}-{number}.log"))
        for worker in workers:
            await asyncio.to_thread(worker.wait_until_ready)
        yield StrategyWorkers(workers, check)
    finally:
        stop_all(workers)
