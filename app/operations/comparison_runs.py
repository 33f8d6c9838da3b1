"""The topic of comparisons: the runs that were made on a line, with their results, as every worker shows them."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from aiokafka.errors import KafkaError
from confluent_kafka import Message
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import Topics
from metroline.app.inputs.recent_records import RecordsUsed
from metroline.app.operations.permission import Permission
from metroline.routing.errors import MetrolineError

KEPT = 50
"""Number of runs that are kept. Older ones are deleted when another one has ended."""

MAX_KNOWN = 2 * KEPT
"""Number of runs of a topic that a worker remembers: others may write to it, too."""

MAX_RUN_BYTES = 512 * 1024
"""Size of a run with its results, in bytes. The rarest routes of a larger one are left out."""

MAX_TABLE_CHARACTERS = 128 * 1024
"""Length of a rules table that is kept with a run, for its map."""

MAX_ROUTES = 1_000
"""Number of routes of each strategy that are kept, the most travelled ones."""

MAX_DIFFERENCES, MAX_DIFFERENCE = 50, 2_000
"""Number of differences that are kept, and their length in characters."""

STALE_SECONDS = 30.0
"""Time without a sign of life after which a run counts as ended with its worker."""

MAX_SKEW_SECONDS = 300.0
"""Difference that the clocks of two workers may have. An older message is no sign of life when it is first read."""

LAST_SECOND = 253_402_300_799
"""The last second of the year 9999, after which there are no dates."""

RUN_ID = re.compile(r"[0-9a-f]{10}")
CANCEL = b".cancel"
"""The end of the key of a wish to cancel a run. The key of a run is its id."""


class RunState(StrEnum):
    """The states of a run. All but the first are final."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The worker that ran it has ended."""


Text = Annotated[str, Meta(max_length=2_000)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Time = Annotated[float, Meta(ge=0, le=LAST_SECOND)]


NO_RESULTS = Raw(b"null")


class KeptRun(Struct, frozen=True):
    """A comparison as the topic has it. Times are in seconds since the epoch."""

    id: Annotated[str, Meta(pattern=f"^{RUN_ID.pattern}$")]
    state: RunState
    by: Text
    """Name of who started it."""
    at: Time
    updated: Time
    started_from: Text
    """`page` or `command`."""
    worker: Text
    """Address of the worker that runs it; empty for a command."""
    command: Text
    """The command that makes the same comparison."""
    strategies: Annotated[list[Text], Meta(max_length=16)]
    chaining: bool
    rate: Text
    """Rate at which the strategies are measured as well, in records per second; `max` for the highest, or empty."""
    asked: Count = 0
    """Number of records that were asked for; 0 for a file."""
    records: RecordsUsed = RecordsUsed()
    code: Text = ""
    """Identity of the line's code, as the workers have it."""
    rules_version: int | None = None
    """The published version with the rules of the run; None if these are those of no published version."""
    table: Annotated[str, Meta(max_length=MAX_TABLE_CHARACTERS)] = ""
    """The rules table of the run; empty if it is too long to be kept."""
    ends: Annotated[list[Text], Meta(max_length=1_000)] = []
    """The names of the line's ends, to which rules may lead."""
    machine: Annotated[dict[str, Text], Meta(max_length=16)] = {}
    step: Text = ""
    """The step that is being done, the number of records that are done, and their total (0: not known)."""
    done: Count = 0
    total: Count = 0
    note: Text = ""
    """The reason why it failed, or who cancelled it."""
    comparison: Raw = NO_RESULTS
    """The results, as `metroline compare --json` writes them; `null` until there are any."""

    @property
    def has_results(self) -> bool:
        """True once there are results."""
        return bytes(self.comparison) != bytes(NO_RESULTS)

    def follows(self, known: KeptRun) -> bool:
        """Return whether this can be a later state of a run than a known one.

        The end of a run is final. Another worker that did not hear of it for long may have noted that a run was
        interrupted while its own worker went on: that one's next sign of life does not revive it, and how it ended
        counts.
        """
        if known.state is RunState.INTERRUPTED:
            return self.state is not RunState.RUNNING
        return known.state is RunState.RUNNING


class Cancel(Struct, frozen=True):
    """The wish of somebody to cancel a run."""

    by: Text
    at: Time


class ComparisonBusy(MetrolineError):
    """Raised when a comparison runs on the line already."""


class UnknownRun(MetrolineError):
    """Raised for a run that the topic does not have."""


class KeptRuns:
    """The runs of a line, as the messages of its topic say, the oldest one first."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.by_id: dict[str, KeptRun] = {}
        self.cancels: dict[str, Cancel] = {}
        self._clock = clock
        self._wall_clock = wall_clock
        self._heard: dict[str, float] = {}
        """The time, by the clock of this machine, at which the latest sign of life of each run was read."""

    def add(self, key: bytes | None, value: bytes | None) -> str | None:
        """Take in a message; return why it is none of a comparison, or None."""
        name = (key or b"").removesuffix(CANCEL).decode(errors="replace")
        if not RUN_ID.fullmatch(name):
            return "the key is no id of a comparison"
        if value is None:
            (self.cancels if (key or b"").endswith(CANCEL) else self.by_id).pop(name, None)
            return None
        if len(value) > 2 * MAX_RUN_BYTES:
            return "it is larger than a comparison may be"
        try:
            if (key or b"").endswith(CANCEL):
                self.cancels[name] = msgspec.json.decode(value, type=Cancel)
            else:
                self._take(name, msgspec.json.decode(value, type=KeptRun))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested too deeply
            return str(error)
        for kept in (self.by_id, self.cancels):
            while len(kept) > MAX_KNOWN:
                kept.pop(next(iter(kept)))
        if len(self._heard) > MAX_KNOWN:
            self._heard = {one: at for one, at in self._heard.items() if one in self.by_id}
        return None

    def _take(self, name: str, run: KeptRun) -> None:
        if run.id != name:
            raise ValueError("the key is not the id in the message")
        known = self.by_id.get(name)
        if known is not None and not run.follows(known):
            return
        self.by_id[name] = replace(run, comparison=run.comparison.copy())  # it is a part of the message until then
        if abs(self._wall_clock() - run.updated) < MAX_SKEW_SECONDS:
            self._heard[name] = self._clock()

    def now(self, name: str) -> KeptRun | None:
        """Return a run as it is known now: interrupted, if nothing was heard of it for long; None if there is none.

        Whoever runs it says so every few seconds. The time of a message is that of another machine's clock, which may
        be wrong by more than that, so the time counts at which the message was read here.
        """
        run = self.by_id.get(name)
        is_silent = self._clock() - self._heard.get(name, float("-inf")) >= STALE_SECONDS
        if run is None or run.state is not RunState.RUNNING or not is_silent:
            return run
        return replace(run, state=RunState.INTERRUPTED, note="the process that ran it has ended")

    def open(self) -> KeptRun | None:
        """Return the run that runs; of several that began at the same moment, the first."""
        return next((run for run in self._now() if run.state is RunState.RUNNING), None)

    def newest(self) -> list[KeptRun]:
        """Return the runs as they are known now, the one that began last first."""
        return sorted(self._now(), key=lambda run: -run.at)

    def _now(self) -> Iterator[KeptRun]:
        return (run for name in self.by_id if (run := self.now(name)) is not None)


class ComparisonBoard:
    """The comparisons of a line, as its topic describes them. A thread of its own reads it."""

    def __init__(self, cluster: Cluster, topics: Topics, foreign: ForeignMessages | None = None) -> None:
        """`foreign` counts the messages that nobody of the line wrote."""
        self.cluster = cluster
        self.topics = topics
        self.topic = topics.comparisons
        self._foreign = foreign
        self._tail = TopicTail(cluster, self.topic)
        self._runs = KeptRuns()
        self._read: deque[list[Message]] = deque()
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "comparisons")

    async def runs(self, max_age: float = 0.0) -> KeptRuns:
        """Return all runs; raise `ClusterError`. A line without the topic has none.

        The topic is read on unless that was done less than `max_age` seconds ago: it takes a moment of a processor.
        """
        async with self._lock:
            if time.monotonic() - self._read_at < max_age:
                return self._runs
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._read_on)
            finally:
                while self._read:
                    self._take_in(self._read.popleft())
            self._read_at = time.monotonic()
            return self._runs

    async def run(self, name: str, max_age: float = 0.0) -> KeptRun:
        """Return a run as it is known now; raise `UnknownRun` if there is none of this name."""
        found = (await self.runs(max_age)).now(name) or (await self.runs()).now(name)
        if found is None:
            raise UnknownRun(f"there is no comparison {name!r}: the line keeps the last {KEPT}")
        return found

    def _read_on(self) -> None:
        for portion in self._tail.read():
            self._read.append(portion)

    def _take_in(self, portion: list[Message]) -> None:
        """Take in messages; none at all mean that the topic was created again."""
        if not portion:
            self._runs = KeptRuns()
        for message in portion:
            key = message.key()
            problem = self._runs.add(key.encode() if isinstance(key, str) else key, message.value())
            if problem is not None and self._foreign is not None:
                self._foreign.leave_out(self.topic, 0, message.offset() or 0, problem)

    async def close(self) -> None:
        """End what is being read."""
        self._tail.is_stopped = True
        self._thread.shutdown(wait=False, cancel_futures=True)


async def keep(cluster: Cluster, topic: str, run: KeptRun, permission: Permission) -> None:
    """Write a run, in place of what was written of it. Every run, from wherever, comes through here.

    Raise `NotPermitted` without a permission, and `ClusterError` if the brokers do not take it.
    """
    await _write(cluster, topic, [(run.id.encode(), msgspec.json.encode(run))], permission)


async def ask_to_cancel(cluster: Cluster, topic: str, name: str, cancel: Cancel, permission: Permission) -> None:
    """Write the wish to cancel a run. Whoever runs it reads it within seconds."""
    await _write(cluster, topic, [(name.encode() + CANCEL, msgspec.json.encode(cancel))], permission)


async def forget(cluster: Cluster, topic: str, names: Iterable[str], permission: Permission) -> None:
    """Delete runs."""
    gone: list[tuple[bytes, bytes | None]] = [(name.encode() + end, None) for name in names for end in (b"", CANCEL)]
    if gone:
        await _write(cluster, topic, gone, permission)


async def forget_old(board: ComparisonBoard, permission: Permission) -> None:
    """Delete the runs that are too many, the oldest ones."""
    kept = (await board.runs()).newest()
    await forget(board.cluster, board.topic, [run.id for run in kept[KEPT:]], permission)


async def _write(
    cluster: Cluster, topic: str, messages: list[tuple[bytes, bytes | None]], permission: Permission
) -> None:
    permission.demand()
    try:
        async with cluster.producer(max_request_size=4 * MAX_RUN_BYTES) as producer:
            for key, value in messages:
                await producer.send_and_wait(topic, value, key=key, partition=0)
    except KafkaError as error:
        raise ClusterError(f"the topic {topic} cannot be written to: {error}") from error


def fitted(comparison: dict[str, Any]) -> Raw:
    """Return the results of a comparison as JSON that can be kept: the rarest routes of many are left out."""
    texts = {name: [text[:MAX_DIFFERENCE] for text in comparison[name]] for name in ("differences", "unsteady")}
    texts = {name: lines[:MAX_DIFFERENCES] for name, lines in texts.items()}
    routes = MAX_ROUTES
    while True:
        runs = [{**run, "routes": dict(list(run["routes"].items())[:routes])} for run in comparison["runs"]]
        found = msgspec.json.encode({**comparison, **texts, "runs": runs})
        if len(found) <= MAX_RUN_BYTES - 2 * MAX_TABLE_CHARACTERS or not routes:
            return Raw(found)
        routes //= 2


def kept_table(text: str) -> str:
    """Return a rules table as it is kept with a run."""
    return text if len(text) <= MAX_TABLE_CHARACTERS else ""


def machine_facts(broker: str) -> dict[str, str]:
    """Return what a report says of the machine and the broker."""
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "Python": platform.python_version(),
        "broker": broker,
    }


def topic_prefix(run: str) -> str:
    """Return the prefix of the topics on which a comparison runs, which are deleted at its end."""
    return f"metroline-{run}"
