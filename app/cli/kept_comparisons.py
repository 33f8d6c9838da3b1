"""Keeps a comparison that the command has made on a line's own broker, and reads the line's recent records for one."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
from aiokafka.errors import KafkaError

from metroline.agents.formats.formats import Formats
from metroline.agents.formats.registry import RegistryAway
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.services.line import Line
from metroline.app.cli.terminal import say
from metroline.app.compare.comparison import Comparison
from metroline.app.compare.plan import Plan
from metroline.app.inputs.recent_records import MAX_BYTES, RecentRecords, RecordsUsed, read_recent
from metroline.app.operations.comparison_runs import (
    ComparisonBoard,
    KeptRun,
    RunState,
    fitted,
    forget_old,
    keep,
    kept_table,
    machine_facts,
)
from metroline.app.operations.comparisons import Progress
from metroline.app.operations.permission import Permission
from metroline.app.operations.rules_topic import published_versions
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError

REPORT_SECONDS = 0.5
"""Time between two reports of the progress in a file."""


async def recent_records(settings: Settings, line: Line, cluster: Cluster, count: int) -> RecentRecords:
    """Return the latest records of a line's source, read in its format.

    Raise `NoRecentRecords` if there are none, and `ClusterError` or `MetrolineError` if they cannot be read.
    """
    formats = Formats(settings.registry_access())
    try:
        decoder = formats.decoder_for_once(*settings.format_of_source(line))
        return await read_recent(cluster, settings.topics(line).source, count, MAX_BYTES, decoder)
    except RegistryAway as error:
        raise MetrolineError(f"recent records cannot be read without the schema registry: {error}") from error
    finally:
        await formats.close()


async def keep_comparison(
    comparison: Comparison, plan: Plan, settings: Settings, line: Line, cluster: Cluster, command: str, began: float
) -> None:
    """Keep a comparison on the topic of its line, if the brokers have that topic, and say so.

    That it cannot be kept is a warning: the comparison itself has succeeded.
    """
    topics = settings.topics(line)
    try:
        if topics.comparisons not in await TopicAdmin(cluster).partitions([topics.comparisons]):
            return
        run = await _kept(comparison, plan, settings, line, cluster, command, began)
        permission = Permission.of_command()
        await keep(cluster, topics.comparisons, run, permission)
        board = ComparisonBoard(cluster, topics)
        try:
            await forget_old(board, permission)
        finally:
            await board.close()
    except (MetrolineError, KafkaError) as error:
        say(f"warning: the comparison is not kept on the topic {topics.comparisons}: {error}", err=True)
    else:
        say(f"kept: the pages of the line's workers show this comparison at /compare/{run.id}/", err=True)


async def _kept(
    comparison: Comparison, plan: Plan, settings: Settings, line: Line, cluster: Cluster, command: str, began: float
) -> KeptRun:
    versions = [one async for one in published_versions(cluster, settings.topics(line)) if one.text == line.rules_text]
    rate = "max" if plan.finds_highest_rate else f"{plan.rate:g}" if plan.rate else ""
    used = RecordsUsed(comparison.records, 0, _origin(plan.records)) if plan.recent is None else plan.recent.used
    return KeptRun(
        id=plan.run or uuid.uuid4().hex[:10],
        state=RunState.DONE,
        by=Permission.of_command().by[:200],
        at=began,
        updated=time.time(),
        started_from="command",
        worker="",
        command=command[:2_000],
        strategies=list(plan.strategies),
        chaining=plan.chaining,
        rate=rate,
        records=used,
        code=line.identity(),
        rules_version=versions[-1].version if versions else None,
        table=kept_table(line.rules_text),
        ends=sorted(line.ends),
        machine=machine_facts(comparison.broker),
        comparison=fitted(comparison.as_json()),
    )


def _origin(records: str) -> str:
    """Return where records are from. Of a file only the name is kept, since others will read it."""
    return "made by the line itself" if records.replace("_", "").isdigit() else f"the file {Path(records).name}"[:200]


def progress_in(
    file: Path, used: RecordsUsed | None, and_also: Callable[[str, int, int], None]
) -> Callable[[str, int, int], None]:
    """Return a function that writes the progress to a file from time to time, for the worker that reads it."""
    written, last = 0.0, ""

    def report(step: str, done: int, total: int) -> None:
        nonlocal written, last
        and_also(step, done, total)
        if step == last and done < total and time.monotonic() - written < REPORT_SECONDS:
            return
        written, last = time.monotonic(), step
        new = file.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(Progress(step, done, total, used)))
        os.replace(new, file)

    return report
