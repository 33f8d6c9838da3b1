"""Checks of a line on its cluster: brokers, topics, rights, formats, rules, workers and their clocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping

import orjson
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from metroline.agents.kafka.cluster import Cluster, ClusterError, ClusterSilent
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_survey import survey
from metroline.agents.kafka.topics import Topics
from metroline.agents.membership.heartbeat import HEARTBEAT_SECONDS, live_workers
from metroline.agents.membership.roles import parts_of
from metroline.agents.membership.worker import WorkerInfo
from metroline.agents.services.line import Line
from metroline.app.diagnosis.finding import Finding, error, ok, skipped, warning
from metroline.app.markup.numbers import counted
from metroline.app.operations.format_checks import check_line
from metroline.app.operations.rules_topic import read_published
from metroline.app.provisioning import inspect
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError

SLOW_SECONDS = 1.0
"""Time for an answer of the brokers from which on it is called slow."""

AWAY = "is it down, or not in the cluster any more? the others of BROKER_URL answer"

CLOCK_SECONDS = 1.0
"""Difference of two clocks from which on ages, waits and latencies are visibly wrong."""


async def examine_cluster(settings: Settings, line: Line) -> AsyncIterator[Finding]:
    """Check the cluster at BROKER_URL as a worker with these settings meets it. Nothing is changed there."""
    began = time.monotonic()
    cluster, topics = settings.cluster(), settings.topics(line)
    try:
        async with cluster.admin() as admin:
            await admin.list_topics()
            brokers = admin.broker_count
    except (ClusterError, KafkaError) as problem:
        remedy = _start_one(settings) if isinstance(problem, ClusterSilent) else ""
        yield error("broker", str(problem) or type(problem).__name__, remedy)
        return
    yield _answered(settings, brokers, time.monotonic() - began)
    for address, reason in (await cluster.silent()).items():
        yield warning("broker", f"no broker answers at {address} ({reason})", AWAY)
    hidden = (await survey(cluster, [topics.rules, topics.workers])).hidden
    for examination in (_topics(settings, line), _formats(settings, line), _rules(cluster, topics, hidden)):
        try:
            async for finding in examination:
                yield finding
        except (MetrolineError, KafkaError) as problem:
            yield error("cluster", str(problem) or type(problem).__name__)
    async for finding in _workers(settings, line, hidden):
        yield finding


def _start_one(settings: Settings) -> str:
    is_here = "127.0.0.1" in settings.broker_url or "localhost" in settings.broker_url
    return "`metroline up` brings its own broker, and `metroline broker` runs it alone" if is_here else ""


def _answered(settings: Settings, brokers: int, seconds: float) -> Finding:
    text = f"{settings.broker_url} answers in {seconds:.2f} s, {counted(brokers, 'broker')}"
    return ok("broker", text) if seconds < SLOW_SECONDS else warning("broker", text, "is it far away, or busy?")


async def _topics(settings: Settings, line: Line) -> AsyncIterator[Finding]:
    found = await inspect(settings, line, is_trial=True)
    for problem in found.problems:
        yield (error if problem.is_fatal else warning)("topics and rights", problem.text, problem.remedy)
    if not found.problems:
        count = len(found.to_create)
        missing = f"; a worker will create {counted(count, 'topic')} that are missing" if count else ""
        yield ok("topics and rights", f"a worker of the role {settings.role!r} can run on them{missing}")


async def _formats(settings: Settings, line: Line) -> AsyncIterator[Finding]:
    problems = await check_line(settings, line)
    for problem in problems:
        yield (error if problem.is_fatal else warning)("formats", str(problem))
    if not problems:
        yield ok("formats", "those of the source and of the ends can be used")


async def _rules(cluster: Cluster, topics: Topics, hidden: Collection[str]) -> AsyncIterator[Finding]:
    if topics.rules in hidden:
        yield skipped("rules", f"cannot be examined without a right on the topic {topics.rules}")
        return
    current = await read_published(cluster, topics)
    if current is None:
        yield ok("rules", "none are published yet: the first worker publishes the line's file")
    else:
        yield ok("rules", f"version {current.version}, published by {current.publication.by}")


async def _workers(settings: Settings, line: Line, hidden: Collection[str]) -> AsyncIterator[Finding]:
    cluster, topics = settings.cluster(), settings.topics(line)
    if topics.workers in hidden:
        yield skipped("workers", f"cannot be examined without a right on the topic {topics.workers}")
        return
    if topics.workers not in await TopicAdmin(cluster).partitions([topics.workers]):
        yield ok("workers", "none has run yet")
        return
    workers = await live_workers(cluster, topics.workers, settings.cluster_key)
    alive = workers.alive(time.time())
    if not alive:
        yield ok("workers", "none is alive")
        yield skipped("clock", "no worker is alive whose clock this one could be compared with")
        return
    yield ok("workers", f"{len(alive)} alive: {', '.join(sorted(worker.url for worker in alive))}")
    for finding in unplayed(line, alive):
        yield finding
    versions = {worker.version for worker in alive}
    if len(versions) > 1:
        told = ", ".join(f"{worker.url} by version {worker.version}" for worker in alive)
        yield warning("rules", f"the workers decide by different versions: {told}", "see /table/rules/ of each")
    for finding in clock_findings(await _differences(cluster, topics)):
        yield finding


def unplayed(line: Line, alive: Collection[WorkerInfo]) -> Iterator[Finding]:
    """Yield a warning if the live workers do not play the whole line."""
    played = {part for worker in alive for part in worker.parts}
    missing = [part for part in parts_of(line.stops) if part not in played]
    if missing:
        text = f"none of them plays {', '.join(missing)}, so records wait there"
        yield warning("workers", text, "start a worker with it in its ROLE")


async def _differences(cluster: Cluster, topics: Topics) -> dict[str, float]:
    """Return by how many seconds the clock of each worker that announces itself now is ahead of ours."""
    partition = TopicPartition(topics.workers, 0)
    end = (await TopicAdmin(cluster).high_watermarks([partition]))[partition]
    deadline = time.monotonic() + HEARTBEAT_SECONDS + 1
    found: dict[str, float] = {}
    async with cluster.consumer(fetch_max_wait_ms=100) as consumer:
        consumer.assign([partition])
        consumer.seek(partition, end)
        while time.monotonic() < deadline:
            for message in (await consumer.getmany(timeout_ms=100)).get(partition, ()):
                try:
                    worker = WorkerInfo.of_json(orjson.loads(message.value or b""))
                except (LookupError, TypeError, ValueError, MetrolineError):
                    continue  # no worker wrote it
                found[worker.url] = worker.at - time.time()
            await asyncio.sleep(0)
    return found


def clock_findings(differences: Mapping[str, float]) -> Iterator[Finding]:
    """Yield what the differences mean: for each worker, the seconds by which its clock is ahead of ours."""
    wrong = {url: ahead for url, ahead in differences.items() if abs(ahead) > CLOCK_SECONDS}
    for url, ahead in wrong.items():
        where = "ahead of" if ahead > 0 else "behind"
        yield warning("clock", f"the clock of {url} is {abs(ahead):.1f} s {where} this one", "keep both right by NTP")
    if differences and not wrong:
        yield ok("clock", f"differs by at most {max(map(abs, differences.values())):.2f} s from those of the workers")
    elif not differences:
        yield skipped("clock", "no worker announced itself in the meantime")
