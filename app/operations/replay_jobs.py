"""The topic of replay jobs: what is on it, and the orders that people write to it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka.errors import KafkaError
from confluent_kafka import Message
from msgspec import Struct, to_builtins

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_survey import why_absent
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import TABLE_BYTES, Topics
from metroline.agents.services.service import Service
from metroline.app.operations.desk import Desk
from metroline.app.operations.edit_checks import check_edits
from metroline.app.operations.letter import DeadLetterError, Letter
from metroline.app.operations.permission import Permission
from metroline.app.operations.replays import Replays
from metroline.app.operations.rereading import Rereading
from metroline.routing.errors import MetrolineError, UsageError
from metroline.routing.journeys.replay import MAX_REASON_CHARACTERS
from metroline.routing.journeys.replay_job_board import Jobs
from metroline.routing.journeys.replay_job_messages import (
    MAX_STEPS,
    Ask,
    Done,
    JobState,
    NotAJobMessage,
    Start,
    StartDiscard,
    Taken,
    Tally,
    Wish,
    decode,
    encode,
)
from metroline.routing.journeys.replay_jobs import Job, note_of
from metroline.routing.strategies import RuleTables

MAX_NAMED = 10
"""Jobs that an error names."""

MAX_CHECKED = 20
"""Letters of a new job that are tried before it begins."""

DONE_WISHES = {Wish.PAUSE: "paused", Wish.RESUME: "resumed", Wish.CANCEL: "cancelled"}


class JobBoard:
    """The replay jobs of a line, as its topic describes them. A thread of its own reads it."""

    def __init__(self, cluster: Cluster, topics: Topics, foreign: ForeignMessages | None = None) -> None:
        """`foreign` counts the messages that nobody of the line wrote."""
        self._foreign = foreign
        self._tail = TopicTail(cluster, topics.replay_jobs)
        self._jobs = Jobs()
        self._read: deque[list[Message]] = deque()
        """Messages that were read and not taken in: the topic is not read again for them, even if reading on fails."""
        self._lock = asyncio.Lock()
        self._began = float("-inf")
        """Time at which the latest reading began."""
        self._thread = ThreadPoolExecutor(1, "replay jobs")

    async def jobs(self) -> Jobs:
        """Read on, and return all jobs; raise `ClusterError`. A line without the topic has none.

        Those who wait for each other share a reading.
        """
        asked = time.monotonic()
        async with self._lock:
            if self._began > asked:  # it has read all that was written before the question
                return self._jobs
            began = time.monotonic()
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._read_on)
            finally:
                while self._read:
                    self._take_in(self._read.popleft())
            self._began = began
            return self._jobs

    def _read_on(self) -> None:
        for portion in self._tail.read():
            self._read.append(portion)

    def _take_in(self, portion: list[Message]) -> None:
        """Take in messages; none at all mean that the topic was created again."""
        if not portion:
            self._jobs = Jobs()
        for message in portion:
            key = message.key()
            named = key.encode() if isinstance(key, str) else key
            offset = message.offset() or 0
            problem = self._jobs.add(offset, named, message.value())
            if problem is not None and self._foreign is not None:
                self._foreign.leave_out(self._tail.topic, 0, offset, problem)

    async def job(self, name: str) -> Job:
        """Return a job; raise `DeadLetterError` if there is none of this name."""
        found = (await self.jobs()).by_id
        if name in found:
            return found[name]
        latest = ", ".join(list(found)[-MAX_NAMED:]) or "none"
        raise DeadLetterError(f"there is no replay job {name!r}; the latest jobs are {latest}")

    async def close(self) -> None:
        """End what is being read."""
        self._tail.is_stopped = True
        self._thread.shutdown(wait=False, cancel_futures=True)


def parse_ramp(text: str) -> tuple[int, ...]:
    """Return the sizes of the steps in a text such as `1,10,100`; raise `UsageError`."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 10 and int(word) for word in words):
        raise UsageError(f"{text!r} is no ramp: write the sizes of the steps, as in 1,10,100")
    if len(words) > MAX_STEPS:
        raise UsageError(f"a ramp has at most {MAX_STEPS} steps, and this one has {len(words)}")
    return tuple(map(int, words))


def parse_share(text: str) -> float:
    """Return the share in a text such as `5%` or `0.05`; raise `UsageError`."""
    trimmed = text.strip()
    try:
        share = float(trimmed.removesuffix("%")) / (100 if trimmed.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:  # NaN is not, either
        raise UsageError(f"{text!r} is no share: write it as in 5% or 0.05")
    return share


def new_job(by: str, kind: type[Start] = Start, /, **order: Any) -> Start:
    """Return the order to begin a job of a kind, with an id of its own; raise `UsageError` if it cannot be one."""
    start = kind(job=uuid.uuid4().hex[:10], at=time.time(), by=by[:200] or "unknown", **order)
    try:
        read = decode(*encode(start))
    except (NotAJobMessage, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"this cannot be a job: {error.__cause__ or error}") from error
    assert isinstance(read, Start)
    return read


def check_job(
    start: Start,
    letters: Sequence[Letter],
    reread: Rereading,
    rule_tables: RuleTables,
    services: Mapping[str, Service],
) -> None:
    """Raise the error that keeps each of these letters, some of the job's, from being replayed; one is enough."""
    refusal: MetrolineError | None = None
    for letter in letters if not isinstance(start, StartDiscard) else ():
        try:
            replays = Replays.of([letter], start.fields, None, start.to, start.by, reread)
            replays.check(rule_tables)
            check_edits(replays, services, rule_tables, start.to)
        except MetrolineError as error:
            refusal = refusal or error
        else:
            return
    if refusal is not None:
        raise refusal


async def some_letters(desk: Desk, start: Start) -> list[Letter]:
    """Return some letters of a new job; raise `DeadLetterError` if it has none, or if one that it names is not dead."""
    if start.group is not None:
        return (await desk.page(start.group, limit=MAX_CHECKED)).letters
    async for letters in desk.chosen(start.ids, None):
        return letters[:MAX_CHECKED]
    return []


async def start_job(cluster: Cluster, topics: Topics, start: Start, permission: Permission) -> None:
    """Write the order to begin a job. Every start of a job, from wherever, comes through here."""
    await _write(cluster, topics, start, permission=permission)


async def ask_job(
    cluster: Cluster, topics: Topics, board: JobBoard, name: str, wish: Wish, permission: Permission, reason: str
) -> Job:
    """Pause, resume or cancel a job, and return it as it was. Every such order comes through here.

    Raise `DeadLetterError` if there is no such job, or if it has ended.
    """
    job = await board.job(name)
    if job.state.is_final:
        raise DeadLetterError(f"the replay job {name} cannot be {DONE_WISHES[wish]}: it is {job.state}")
    if wish is Wish.PAUSE and job.state is not JobState.RUNNING:
        raise DeadLetterError(f"the replay job {name} cannot be paused: it is {job.state}")
    if wish is Wish.RESUME and job.state is JobState.RUNNING:
        raise DeadLetterError(f"the replay job {name} cannot be resumed: it is running")
    ask = Ask(
        order=uuid.uuid4().hex,
        job=name,
        wish=wish,
        at=time.time(),
        by=permission.demand()[:200] or "unknown",
        reason=reason[:MAX_REASON_CHARACTERS],
    )
    await _write(cluster, topics, ask, permission=permission)
    return job


async def note_taken(cluster: Cluster, topics: Topics, taken: Taken, permission: Permission) -> None:
    """Note that dead letters of another system were replayed or discarded."""
    await _write(cluster, topics, taken, permission=permission)


async def note_done(
    cluster: Cluster, topics: Topics, entries: Iterable[Done], permission: Permission, wrong: Iterable[str] = ()
) -> None:
    """Write entries of the journal of dead letters, and delete those with the keys `wrong`."""
    await _write(cluster, topics, *entries, permission=permission, gone=wrong)


async def _write(
    cluster: Cluster,
    topics: Topics,
    *messages: Start | Ask | Taken | Done,
    permission: Permission,
    gone: Iterable[str] = (),
) -> None:
    """Write messages to the topic of jobs, and delete those with the keys `gone`; return when that is confirmed.

    Raise `NotPermitted` without a permission, and `ClusterError` if the brokers do not take them.
    """
    permission.demand()
    topic = topics.replay_jobs
    if topic not in await TopicAdmin(cluster).partitions([topic]):
        raise DeadLetterError(f"{await why_absent(cluster, topic)}: workers of this version create it when they start")
    try:
        async with cluster.producer(max_request_size=TABLE_BYTES) as producer:
            for key, value in (*map(encode, messages), *((key.encode(), None) for key in gone)):
                await producer.send_and_wait(topic, value, key=key, partition=0)
    except KafkaError as error:
        raise ClusterError(f"the topic {topic} cannot be written to: {error}") from error


class OrderAnswer(Struct, frozen=True):
    """An order to a job that was started."""

    what: str
    by: str
    at: float
    reason: str


class JobAnswer(Struct, frozen=True):
    """A replay job, for programs. Times are in seconds since the epoch."""

    job: str
    act: str
    """`replay` or `discard`."""
    topic: str | None
    """The topic of its letters if they are of another system."""
    state: str
    group: str | None
    ids: list[str]
    to: str | None
    set: dict[str, Any]
    ramp: list[int]
    rate: float
    stop_at: float
    patience: float
    by: str
    at: float
    reason: str
    is_taken_up: bool
    total: int
    replayed: int
    ended: int
    dead_again: int
    under_way: int
    remaining: int
    left_out: dict[str, int]
    note: str
    updated: float
    orders: list[OrderAnswer]


def described(job: Job) -> JobAnswer:
    """Return a job for programs and people."""
    start, progress = job.start, job.progress
    tally = progress.tally if progress else Tally()
    return JobAnswer(
        job=job.id,
        act=str(job.act),
        topic=job.topic,
        state=str(job.state),
        group=start.group,
        ids=list(start.ids),
        to=start.to,
        set=start.fields,
        ramp=list(start.ramp),
        rate=start.rate,
        stop_at=start.stop_at,
        patience=start.patience,
        by=start.by,
        at=start.at,
        reason=start.reason,
        is_taken_up=progress is not None,
        total=tally.total,
        replayed=tally.replayed,
        ended=tally.ended,
        dead_again=tally.dead_again,
        under_way=tally.under_way,
        remaining=tally.remaining,
        left_out=dict(progress.left_out) if progress else {},
        note=note_of(job),
        updated=progress.at if progress else start.at,
        orders=[OrderAnswer(str(ask.wish), ask.by, ask.at, ask.reason) for _, ask in job.asks],
    )


def job_as_json(job: Job) -> dict[str, Any]:
    """Return a job as JSON data."""
    return dict(to_builtins(described(job)))


def journal_of(job: Job) -> list[tuple[float, str]]:
    """Return who did what to a job, oldest first, each with its time in seconds since the epoch."""
    entries = [(job.start.at, "started", job.start.by, job.start.reason)]
    entries += [(ask.at, DONE_WISHES[ask.wish], ask.by, ask.reason) for _, ask in job.asks]
    return [(at, f"{what} by {by}{f': {why}' if why else ''}") for at, what, by, why in entries]
