"""The calls of SQS that the live workers of a line have made, as they say themselves, scaled to a month."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from aiohttp import ClientSession
from msgspec import Meta, Struct, json

from metroline.agents.gateways.sqs.client import CallCounts
from metroline.agents.gateways.sqs.end import SqsEnd
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.membership.heartbeat import live_workers
from metroline.agents.membership.roles import ON_RAMP
from metroline.agents.membership.worker import WorkerInfo
from metroline.agents.services.line import Line
from metroline.app.operations.bill import MONTH_SECONDS, SqsPrices, price_of_calls
from metroline.app.operations.worker_client import Answers, ask, pass_header
from metroline.app.settings import Settings

PATH = "/traffic/"

LEAST_SECONDS = 1.0
"""The shortest time that is scaled to a month: calls of a worker that has just started are taken to have needed it."""

Natural = Annotated[int, Meta(ge=0)]


class QueueCalls(Struct, frozen=True):
    """The calls that a worker has made to a queue."""

    messages: Natural
    bytes: Natural
    calls: dict[str, Natural]
    billed_calls: Natural
    """One for each chunk of 64 KiB that a call carries, at least one a call."""
    failed_calls: dict[str, Natural]
    seconds: Annotated[float, Meta(ge=0, le=1e12)]
    """Time for which they have been counted."""

    @classmethod
    def counted(cls, counts: CallCounts) -> Self:
        """Return the calls of a client."""
        calls, failures = dict(counts.calls), dict(counts.failures)
        return cls(counts.messages, counts.bytes, calls, counts.chunks, failures, round(counts.seconds, 3))


class WorkerCalls(Struct, frozen=True):
    """The part of a worker's answer that tells its calls."""

    queue: QueueCalls | None
    """Those of the source; None if this worker receives from no queue."""
    ends: dict[str, QueueCalls]

    def to(self, queue: Queue) -> QueueCalls | None:
        """Return the calls to a queue; None if this worker does not use it."""
        return self.queue if queue.end is None else self.ends.get(queue.end)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that a line uses."""

    end: str | None
    """The end that it is; None for the source."""
    is_fifo: bool

    def is_used_by(self, worker: WorkerInfo) -> bool:
        """Return whether a worker makes calls to the queue."""
        return ON_RAMP in worker.parts if self.end is None else self.end in worker.stops


@dataclass(frozen=True, slots=True)
class MonthOfCalls:
    """The calls of all workers to a queue in a month, at the rates at which they have made them."""

    end: str | None
    """The end that the queue is; None for the source."""
    workers: int
    seconds: float
    """The shortest time for which one of the workers has counted."""
    messages: float
    bytes: float
    calls: dict[str, float]
    billed_calls: float
    dollars: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The calls of a line in a month, by its queues."""

    queues: tuple[MonthOfCalls, ...]
    missing: tuple[str, ...]
    """The addresses of the live workers that use a queue and gave no answer that can be used."""


async def measured_calls(settings: Settings, line: Line, prices: SqsPrices) -> Measured | None:
    """Ask the live workers of a line that use its queues; return None if the line has no queue of SQS.

    Raise `ClusterError` or another `MetrolineError` if the cluster cannot be asked which workers are alive.
    """
    queues = _queues(line)
    if not queues:
        return None
    alive = await _alive(settings, line)
    urls = sorted({one.url for one in alive if any(queue.is_used_by(one) for queue in queues)})
    prefix = settings.topics(line).prefix
    async with ClientSession() as client:
        answers = await ask(
            client, urls, PATH, _decoded, lambda url: pass_header(settings.metroline_token, prefix, url)
        )
    return scaled(answers, queues, prices)


def scaled(answers: Answers[WorkerCalls], queues: Sequence[Queue], prices: SqsPrices) -> Measured:
    """Return what workers have counted as the calls of a month; a queue that none has used is left out."""
    months = [month for queue in queues if (month := _month(answers.pages, queue, prices)) is not None]
    return Measured(tuple(months), tuple(sorted(answers.missing + answers.lacking)))


def _queues(line: Line) -> list[Queue]:
    source, ends = line.options.queue, line.options.outside
    found = [] if source is None else [Queue(None, source.is_fifo)]
    return found + [Queue(name, end.is_fifo) for name, end in sorted(ends.items()) if isinstance(end, SqsEnd)]


async def _alive(settings: Settings, line: Line) -> list[WorkerInfo]:
    cluster, topic = settings.cluster(), settings.topics(line).workers
    if topic not in await TopicAdmin(cluster).partitions([topic]):
        return []
    return (await live_workers(cluster, topic, settings.cluster_key)).alive(time.time())


def _decoded(body: bytes) -> WorkerCalls:
    return json.decode(body, type=WorkerCalls)


def _month(answers: Mapping[str, WorkerCalls], queue: Queue, prices: SqsPrices) -> MonthOfCalls | None:
    told = [found for answer in answers.values() if (found := answer.to(queue)) is not None]
    if not told:
        return None
    calls: dict[str, float] = {}
    messages = size = billed = 0.0
    for one in told:
        times = MONTH_SECONDS / max(LEAST_SECONDS, one.seconds)
        messages += one.messages * times
        size += one.bytes * times
        billed += one.billed_calls * times
        for name, count in one.calls.items():
            calls[name] = calls.get(name, 0.0) + count * times
    million = prices.million_fifo_calls if queue.is_fifo else prices.million_calls
    seconds, dollars = min(one.seconds for one in told), price_of_calls(billed, million)
    return MonthOfCalls(queue.end, len(told), seconds, messages, size, calls, billed, dollars)
