"""Measures how fast one process receives from SQS and delivers to it, and what that costs: `make bench-sqs`.

The servers are ElasticMQ, and one that answers at once. Messages that are received go to a source topic that takes
them at once, so that no broker is measured. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import orjson
import psutil
import pytest

from metroline.agents.gateways.outside_end import Outgoing
from metroline.agents.gateways.sqs.client import CallCounts, opened
from metroline.agents.gateways.sqs.end import SqsEnd, SqsWriter
from metroline.agents.gateways.sqs.options import SqsSource
from metroline.agents.gateways.sqs.received import SourceMessage
from metroline.agents.gateways.sqs.receiver import SqsReceiver
from metroline.app.local.ports import HOST
from metroline.routing.meta import Meta
from tests.support.elasticmq import CREDENTIALS, ElasticMq, running_elasticmq

RECORD = {"n": 1, "text": "x" * 1_281}
LINE = orjson.dumps(RECORD).decode()  # 1,300 bytes

PACKED = 50
"""Records in a message, where several share one: as many as fit into a chunk of 64 KiB."""

WARM_UP = 5_000
"""Records for which ElasticMQ is not measured, since Java compiles it meanwhile."""

UNIT = 10_000
"""Records for which CPU time is told."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    url: str
    process: psutil.Process
    queues: ElasticMq | None
    """None if it knows no queues, and hands out messages without end."""

    @property
    def cpu(self) -> float:
        """The CPU time that it has used, in seconds."""
        return float(sum(self.process.cpu_times()[:2]))


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a measurement."""

    records: int
    seconds: float
    ours: float
    """CPU-seconds of this process."""
    theirs: float
    """CPU-seconds of the server."""

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.records / self.seconds

    def per_unit(self, cpu: float) -> float:
        """Return a CPU time for 10,000 records."""
        return cpu * UNIT / self.records


class Watch:
    """Measures from the time at which it is made."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began = time.perf_counter(), time.process_time(), server.cpu

    def figures(self, records: int) -> Figures:
        """Return the figures of the records since then."""
        now = time.perf_counter(), time.process_time(), self._server.cpu
        seconds, ours, theirs = (end - begin for begin, end in zip(self._began, now, strict=True))
        return Figures(records, seconds, ours, theirs)


class NoTopic:
    """A source topic that takes every message at once and has none."""

    async def put(self, messages: Sequence[SourceMessage]) -> Mapping[str, str]:
        return {}

    async def holds(self, ids: Collection[str], since: int) -> frozenset[str]:
        return frozenset()

    def fits(self, message: SourceMessage) -> bool:
        return True


async def receive(server: Server, queue: str, messages: int, per_message: int, limit: float) -> Figures:
    """Receive messages, for `limit` seconds at most; those of ElasticMQ are sent before that."""
    if server.queues is not None:
        server.queues.create(queue, VisibilityTimeout="60")
        await asyncio.to_thread(fill, server.queues, queue, messages, body(per_message))
    options = SqsSource(kind="sqs", queue=queue, endpoint=server.url)
    async with opened(options, 2 * options.receivers + 4) as client:
        receiver = SqsReceiver(client, NoTopic(), options.receivers)
        watch, until = Watch(server), time.monotonic() + limit
        running = asyncio.create_task(receiver.run())
        while client.counts.messages < messages and time.monotonic() < until and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        receiver.stop()
        await running  # it deletes the messages in hand
        figures = watch.figures(client.counts.messages * per_message)
        check(client.counts, queue)
    remove(server, queue)
    return figures


async def deliver(server: Server, queue: str, records: int, limit: float) -> Figures:
    """Send packed records, as many packs at once as a worker does, for `limit` seconds at most."""
    if server.queues is not None:
        server.queues.create(queue)
    end = SqsEnd.model_validate({"kind": "sqs", "queue": queue, "endpoint": server.url})
    meta = Meta(None, {}, None, "source", 0, 0)
    packs, sent = iter(range(0, records, end.max_batch)), 0

    async def send(writer: SqsWriter) -> None:
        nonlocal sent
        for first in packs:
            ids = range(first, min(first + end.max_batch, records))
            answers = await writer.write([Outgoing(RECORD, f"source-0-{number}", meta) for number in ids])
            refused = next((answer for answer in answers if answer is not None), None)
            if refused is not None:
                sys.exit(f"error: {server.name} did not take a record: {refused}")
            sent += len(answers)
            if time.monotonic() > until:
                return

    async with end.open("measured") as writer:
        assert isinstance(writer, SqsWriter)
        watch, until = Watch(server), time.monotonic() + limit
        await asyncio.gather(*(send(writer) for _ in range(end.concurrency)))
        figures = watch.figures(sent)
        check(writer.client.counts, queue)
    remove(server, queue)
    return figures


def body(records: int) -> str:
    """Return the body of a message that holds records, one a line."""
    return "\n".join([LINE] * records)


def fill(queues: ElasticMq, queue: str, messages: int, text: str) -> None:
    """Send messages to a queue, as many a call as its 256 KiB take."""
    most = max(1, min(10, 256 * 1024 // (len(text) + 1_000)))
    for first in range(0, messages, most):
        queues.send(queue, [text] * min(most, messages - first))


def check(counts: CallCounts, queue: str) -> None:
    """Exit if calls failed: the figures would be those of something else."""
    if counts.failures:
        sys.exit(f"error: calls about the queue {queue} failed: {dict(counts.failures)}")


def remove(server: Server, queue: str) -> None:
    """Delete a queue, so that its messages take no memory."""
    if server.queues is not None:
        server.queues.call("DeleteQueue", QueueUrl=f"{server.url}/000000000000/{queue}")


@contextmanager
def elasticmq(folder: Path) -> Iterator[Server]:
    """Run ElasticMQ, with the compiler of Java that it has in production."""
    with running_elasticmq(folder, is_brief=False) as queues:
        yield Server("ElasticMQ", queues.url, psutil.Process(queues.child.pid), queues)


@contextmanager
def instant(folder: Path, per_message: int) -> Iterator[Server]:
    """Run the server that answers at once, with messages of so many records."""
    file = folder / "body"
    file.write_text(body(per_message))
    command = [sys.executable, "-m", "benchmarks.instant_sqs", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            yield Server("a server that answers at once", f"http://{HOST}:{port}", psutil.Process(process.pid), None)
        finally:
            process.terminate()


@dataclass(slots=True)
class Rounds:
    """The figures of all rounds, by what was measured."""

    of: dict[str, list[Figures]]

    def note(self, what: str, figures: Figures) -> None:
        """Print the figures of a measurement, and keep them."""
        self.of.setdefault(what, []).append(figures)
        print(f"{what}: {told([figures])}", flush=True)

    def show(self) -> None:
        """Print the medians."""
        for what, found in self.of.items():
            lowest, highest = min(one.rate for one in found), max(one.rate for one in found)
            print(f"median of {len(found)}: {what}: {told(found)} ({lowest:,.0f} to {highest:,.0f} records/s)")


def told(found: Sequence[Figures]) -> str:
    """Return the medians of figures in words."""
    rate = median(one.rate for one in found)
    ours = median(one.per_unit(one.ours) for one in found)
    theirs = median(one.per_unit(one.theirs) for one in found)
    return f"{rate:,.0f} records/s; CPU-seconds for {UNIT:,} records: {ours:.2f} ours, {theirs:.2f} the server's"


SINGLE, SEVERAL, PACKS = "receive, one record a message", f"receive, {PACKED} records a message", "deliver, packed"


async def measure(asked: argparse.Namespace, folder: Path, rounds: Rounds) -> None:
    """Take the measurements of each server in turns, so that no slow moment of the machine hits one of them alone."""
    with instant(folder, 1) as single, instant(folder, PACKED) as several:
        for number in range(asked.rounds):
            await measure_round(asked, single, several, number, rounds)
    try:
        with elasticmq(folder) as server:
            await receive(server, "warm-source", WARM_UP, 1, asked.limit)
            await deliver(server, "warm-end", WARM_UP, asked.limit)
            for number in range(asked.rounds):
                await measure_round(asked, server, server, number, rounds)
    except pytest.skip.Exception as skipped:
        print(f"ElasticMQ is left out: {skipped}")


async def measure_round(
    asked: argparse.Namespace, single: Server, several: Server, number: int, rounds: Rounds
) -> None:
    """Take each measurement once. Messages of one record are received from `single`, those of 50 from `several`."""
    records, limit = asked.records, asked.limit
    rounds.note(f"{single.name}: {SINGLE}", await receive(single, f"single-{number}", records, 1, limit))
    found = await receive(several, f"several-{number}", 5 * records // PACKED, PACKED, limit)
    rounds.note(f"{several.name}: {SEVERAL}", found)
    rounds.note(f"{single.name}: {PACKS}", await deliver(single, f"end-{number}", 2 * records, limit))


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, prog="make bench-sqs")
    parser.add_argument(
        "--records",
        type=int,
        default=15_000,
        help="records of a measurement with one a message; five times as many with 50, and twice as many to deliver",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=15.0, help="longest time of a measurement, in seconds")
    asked = parser.parse_args()
    if asked.records < PACKED or asked.rounds < 1 or not asked.limit > 0:
        parser.error(f"--records must be at least {PACKED}, --rounds at least 1, and --limit more than 0")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    os.environ |= CREDENTIALS
    rounds = Rounds({})
    with TemporaryDirectory(prefix="metroline-sqs-") as folder:
        asyncio.run(measure(asked, Path(folder), rounds))
    rounds.show()


if __name__ == "__main__":
    main()
