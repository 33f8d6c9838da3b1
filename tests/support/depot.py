"""A line for tests, with its topics on a real broker and the worker processes that a test starts."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiokafka import TopicPartition

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.kafka.topic_reader import read_topic
from metroline.agents.kafka.topics import Topics
from metroline.agents.membership.heartbeat import live_workers
from metroline.agents.membership.worker import WorkerInfo
from metroline.agents.tables.outcomes import read_settled
from metroline.app.local.worker_process import LOCAL, WorkerProcess, WorkerSilent
from metroline.routing.addresses import ARRIVALS, WAITING_ROOMS
from metroline.routing.errors import MalformedEnvelope
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import RecordId
from metroline.routing.messages.segment import Segment, Visit
from metroline.routing.outcome import Ending
from tests.support.brokers import Broker
from tests.support.delivered import dead_letter_in
from tests.support.forks.client import start_worker
from tests.support.project import ROOT

READY_SECONDS = 180.0
UNTIL_SECONDS = 150.0
"""Deadlines, in seconds, that even a busy machine meets. A test that passes does not wait for them."""

FETCH_WAIT = {"embedded": "0.05", "kafka": "0.5"}
"""Time that a broker may hold a fetch, in seconds. Kafka answers when data arrive, the embedded broker only after it.

A fetch every few milliseconds costs each worker an eighth of a core.
"""

SERVICES = """
import asyncio
from pathlib import Path

from metroline import service

GATE = Path(__file__).parent / "gate"


@service
async def weigh(record):
    while record.get("waits") and not GATE.exists():
        await asyncio.sleep(0.02)
    await asyncio.sleep(record.get("takes", 0))
    if record.get("fails") and not GATE.exists():
        raise OSError("the scales are not ready")
    if record["n"] == "refused":
        raise ValueError("it cannot be weighed")
    record["heavy"] = record["n"] % 2 == 0
    return record


@service
def crane(record):
    record["lifted"] = True
    return record


@service
def shelf(record):
    record["shelved"] = True
    return record
"""

RULES = """
[[rules]]
name = "all are weighed"
after = "source"
to = "weigh"

[[rules]]
name = "heavy ones need the crane"
after = "weigh"
match = { heavy = true }
to = "crane"

[[rules]]
name = "some are not kept"
after = "weigh"
when = "n % 5 == 0"
drop = "not kept"

[[rules]]
name = "light ones go on the shelf"
after = "weigh"
to = "shelf"

[[rules]]
name = "and the lifted ones"
after = "crane"
to = "shelf"
"""


def expected(number: int) -> tuple[tuple[str, ...], Ending, str | None]:
    """Return the stops and the outcome of the record with this `n`."""
    if number % 2 == 0:
        return ("weigh", "crane", "shelf"), Ending.DELIVERED, None
    if number % 5 == 0:
        return ("weigh",), Ending.DROPPED, "not kept"
    return ("weigh", "shelf"), Ending.DELIVERED, None


def numbered(numbers: Iterable[object], **fields: Any) -> list[bytes]:
    """Return source messages with one record each."""
    return [orjson.dumps({"n": number} | fields) for number in numbers]


@dataclass(frozen=True, slots=True)
class Journey:
    """A record's journey, as its history tells it."""

    strategy: str
    record: dict[str, Any]
    history: tuple[Visit, ...]
    ending: Ending
    reason: str | None

    @property
    def way(self) -> tuple[tuple[str, ...], Ending, str | None]:
        return tuple(visit.stop for visit in self.history), self.ending, self.reason

    @property
    def deciders(self) -> set[str]:
        """Return the deciders that chose its stops."""
        return {visit.by for visit in self.history}


@dataclass
class Depot:
    """The line in its folder, its own topic prefix, and the workers that run."""

    broker: Broker
    prefix: str
    folder: Path
    logs: Path
    partitions: int = 4
    variables: dict[str, str] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.write(SERVICES, RULES)

    @property
    def cluster(self) -> Cluster:
        return Cluster.at(self.broker.url)

    @property
    def topics(self) -> Topics:
        return Topics(self.prefix, f"{self.prefix}.source")

    def write(self, services: str, rules: str) -> None:
        """Write the files of the line."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "services.py").write_text(services)
        (self.folder / "routes.toml").write_text(rules)

    def open_gate(self) -> None:
        """Release the records that wait or fail at `weigh`."""
        (self.folder / "gate").touch()

    def close_gate(self) -> None:
        """Have records that come from now on wait or fail at `weigh`."""
        (self.folder / "gate").unlink()

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment variables of a worker of this line."""
        told = LOCAL | {
            "FETCH_WAIT": FETCH_WAIT[self.broker.name],
            "PYTHONPATH": str(ROOT),
            "LINE": str(self.folder),
            "PREFIX": self.prefix,
            "BROKER_URL": self.broker.url,
            "SOURCE_PARTITIONS": str(self.partitions),
            "SERVICE_ATTEMPTS": "1",
            "CHAINING": "off",  # a test that asks for it gets hops in memory as well
            "ACKNOWLEDGED_MESSAGES": "keep",  # tests read the journeys from the topics
            "LOG_LEVEL": "info",
        }
        return told | self.variables | variables

    def start(self, strategy: str = "signpost", role: str = "all", **variables: str) -> WorkerProcess:
        """Start a worker."""
        log = self.logs / f"worker-{len(list(self.logs.glob('worker-*')))}.log"
        told = self.environment(ROUTING_STRATEGY=strategy, ROLE=role, **variables)
        self.workers.append(start_worker(told, log))
        return self.workers[-1]

    async def ready(self, *workers: WorkerProcess) -> None:
        """Wait until these workers, or all that run, answer; raise `WorkerDied` or `WorkerSilent` if one does not."""
        deadline = time.monotonic() + READY_SECONDS
        for worker in workers or self.workers:
            while await asyncio.to_thread(worker.get, "/traffic/") is None:
                worker.check()
                if time.monotonic() > deadline:
                    raise WorkerSilent(f"a worker is not ready after {READY_SECONDS:g} s; {worker.child.last_words()}")
                await asyncio.sleep(0.1)

    async def all_ready(self) -> bool:
        """Return whether all workers that run say that they are ready, with their groups formed."""
        answers = [await asyncio.to_thread(worker.get, "/health/ready") for worker in self.workers]
        return all(answer is not None for answer in answers)

    async def stop(self, worker: WorkerProcess) -> int | None:
        """Ask a worker to end, wait for it, and return its exit code."""
        self.workers.remove(worker)
        await asyncio.to_thread(worker.stop)
        return worker.child.exit_code

    async def kill(self, worker: WorkerProcess) -> None:
        """Kill a worker with SIGKILL."""
        self.workers.remove(worker)
        os.kill(worker.child.pid, signal.SIGKILL)
        await asyncio.to_thread(worker.stop)

    async def refused(self, **variables: str) -> str:
        """Start a worker that must fail to start, and return its last line once it has ended with exit code 1."""
        worker = self.start(**variables)
        await self.until(lambda: worker.child.exit_code is not None, 60, watch=False)
        self.workers.remove(worker)
        await asyncio.to_thread(worker.stop)
        assert worker.child.exit_code == 1, worker.child.last_words()
        return worker.child.log.read_text().strip().splitlines()[-1]

    def end(self) -> None:
        """Ask the remaining workers to end, without waiting for them."""
        for worker in self.workers:
            worker.child.stop(timeout=0)

    async def create_source(self) -> None:
        """Create the source topic if it does not exist."""
        await TopicAdmin(self.cluster).create([TopicPlan(self.topics.source, self.partitions)])

    async def push(self, messages: Iterable[bytes | None], topic: str | None = None) -> None:
        """Write messages to a topic, by default the source, to each partition in turn, and wait for confirmations."""
        await self.create_source()
        async with self.cluster.producer(linger_ms=5) as producer:
            sent = [
                await producer.send(topic or self.topics.source, message, partition=number % self.partitions)
                for number, message in enumerate(messages)
            ]
            await asyncio.gather(*sent)

    async def until(
        self, holds: Callable[[], bool | Awaitable[bool]], timeout: float = UNTIL_SECONDS, watch: bool = True
    ) -> None:
        """Wait until a condition holds; unless `watch` is False, fail if a worker ends first."""
        deadline = time.monotonic() + timeout
        while True:
            looked = time.monotonic()
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            for worker in self.workers if watch else ():
                worker.check()
            assert time.monotonic() < deadline, f"it did not happen within {timeout:g} s: {await self._told()}"
            await asyncio.sleep(max(0.15, 2 * (time.monotonic() - looked)))  # a check may read a whole topic

    async def _told(self) -> str:
        states = [await asyncio.to_thread(_state, worker) for worker in self.workers]
        return "\n".join([f"{(await self.counts())!r}", *states])

    async def counts(self) -> dict[Ending, int]:
        """Return the number of records by outcome, as the arrivals counted them."""
        return dict((await read_settled(self.cluster, self.topics)).endings)

    async def duplicates(self) -> int:
        """Return the number of outcomes that arrived for a record that already had one."""
        return (await read_settled(self.cluster, self.topics)).duplicates

    async def more_than(self, count: int) -> bool:
        """Return whether more than `count` records have their outcome."""
        return sum((await self.counts()).values()) > count

    async def settled(self, count: int, timeout: float = UNTIL_SECONDS, watch: bool = True) -> None:
        """Wait until `count` records have their outcome; fail at once if more have one, or as `until` does."""

        async def holds() -> bool:
            found = sum((await self.counts()).values())
            assert found <= count, f"{found} records have an outcome, of {count}"
            return found == count

        await self.until(holds, timeout, watch)

    async def journeys(self) -> dict[tuple[str, int, RecordId], Journey]:
        """Return the first outcome of each record that reached the arrivals, without those of malformed messages."""
        found: dict[tuple[str, int, RecordId], Journey] = {}
        async for message in read_topic(self.cluster, self.topics.at(ARRIVALS)):
            try:
                envelope = Envelope.decode(message.value, message.partition)
            except MalformedEnvelope:
                continue
            for segment in envelope.segments if envelope.origin.name.startswith("source") else ():
                assert segment.outcome is not None
                for record, line in zip(segment.ids, segment.lines, strict=True):
                    outcome = segment.outcome
                    journey = Journey(
                        envelope.strategy, orjson.loads(line), segment.history, outcome.ending, outcome.reason
                    )
                    found.setdefault((*envelope.origin, record), journey)
        return found

    async def delivered(self) -> list[dict[str, Any]]:
        """Return the records of the delivered topic, which may hold one twice."""
        read = read_topic(self.cluster, self.topics.delivered)
        return [orjson.loads(message.value) async for message in read]

    async def letters(self) -> list[tuple[str, str, bytes]]:
        """Return the origin, the reason and the record of each dead letter."""
        found = []
        for envelope in await self._dead_letters():
            for segment in envelope.segments:
                assert segment.outcome is not None
                found += [(envelope.origin.name, segment.outcome.reason or "", line) for line in segment.lines]
        return found

    async def dead(self) -> list[Segment]:
        """Return the dead letters as they are stored on their topic."""
        return [segment for envelope in await self._dead_letters() for segment in envelope.segments]

    async def _dead_letters(self) -> list[Envelope]:
        read = read_topic(self.cluster, self.topics.dead_letters)
        return [dead_letter_in(message) async for message in read]

    async def waits(self) -> bool:
        """Return whether a message has reached a waiting room."""
        rooms = [
            TopicPartition(self.topics.at(room), number) for room in WAITING_ROOMS for number in range(self.partitions)
        ]
        return any((await TopicAdmin(self.cluster).high_watermarks(rooms)).values())

    async def has_letters(self, count: int) -> bool:
        """Return whether there are at least `count` dead letters."""
        return len(await self.letters()) >= count

    async def holds_messages(self, *partitions: TopicPartition) -> bool:
        """Return whether each of these partitions has a message."""
        return all((await TopicAdmin(self.cluster).high_watermarks(partitions)).values())

    async def alive(self) -> list[WorkerInfo]:
        """Return the workers that announce themselves as alive."""
        return (await live_workers(self.cluster, self.topics.workers)).alive(time.time())

    async def all_have(self, version: int, workers: int) -> bool:
        """Return whether this many workers are alive and all of them report this version of the rules."""
        return [worker.version for worker in await self.alive()] == [version] * workers

    async def delete_topics(self) -> None:
        """Delete the topics of this line from the broker."""
        await TopicAdmin(self.cluster).delete(await TopicAdmin(self.cluster).topics_below(self.prefix))


def check_ways(journeys: Iterable[Journey], numbers: Iterable[int]) -> None:
    """Assert that exactly these records arrived, each by the route that its number determines."""
    by_number = {journey.record["n"]: journey for journey in journeys}
    assert sorted(by_number) == sorted(numbers)
    wrong = {number: one.way for number, one in by_number.items() if one.way != expected(number)}
    assert not wrong, wrong


def _state(worker: WorkerProcess) -> str:
    """Return the last words of a worker, and what it says of itself."""
    said = [f"worker {worker.child.pid}: {worker.child.last_words(2)}"]
    for page in ("/health/ready", "/traffic/"):
        try:
            with urllib.request.urlopen(f"{worker.url}{page}", timeout=5.0) as answer:
                said.append(f"{page}: {answer.read().decode()}")
        except urllib.error.HTTPError as error:  # it is not ready, and says why
            said.append(f"{page}: {error.read().decode()}")
        except OSError as error:
            said.append(f"{page}: {error!r}")
    return "\n  ".join(said)
