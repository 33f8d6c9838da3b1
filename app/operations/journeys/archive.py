"""The archive: finds and searches the journeys of a line in a thread, which reads their topics when it is asked."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar, cast

from confluent_kafka import Message

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import Topics
from metroline.app.operations.journeys.ended_journey import EndedJourney, RawMessage, Shelf
from metroline.app.operations.journeys.memory import Held, JourneyMemory, journeys_of, may_hold
from metroline.app.operations.journeys.query import Query
from metroline.routing.errors import MetrolineError, UsageError
from metroline.routing.journeys.settlement import offset_of
from metroline.routing.messages.record_ids import RecordId, id_of

FRESH_SECONDS = 0.5
"""Time for which the topics are not read on."""

READ_SECONDS = 3.0
"""Time for which the topics are read on before an answer. A page says when there is more to read."""

SEARCH_SECONDS = 1.5
"""Time for which an answer searches. The next page goes on where it stopped."""

FIND_SECONDS = 10.0
"""Time for which a page looks for an id on the topics, if the memory does not have it."""

MAX_WAITING = 4
"""Number of readers that wait for each other. Another one is refused at once: each has one of the sixteen turns of the
web server, of which others need most."""

PAUSE_AFTER, PAUSE_SECONDS = 100, 0.001
"""Messages or journeys after which the thread lets the event loop, which carries the records, have the interpreter."""

PAGE, MAX_PAGE = 50, 1_000
"""Journeys on a page: the usual number, and the largest."""

CURSOR = re.compile(r"(?P<ended>[0-9]{1,12}(\.[0-9]{1,9})?)~(?P<id>.{1,400})")
"""A place in a list of journeys, after which a page begins."""

T = TypeVar("T")


class ArchiveBusy(MetrolineError):
    """Raised when too many others are reading the journeys already."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the list of journeys: the time (seconds since the epoch) and the id of the last one before it."""

    ended: float
    id: str

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return the cursor in a text; raise `UsageError` if there is none."""
        found = CURSOR.fullmatch(text)
        if found is None:
            raise UsageError(f"{text!r:.100} is no place in the list of journeys: take it from the page before")
        return cls(float(found["ended"]), found["id"])

    def __str__(self) -> str:
        return f"{self.ended:.6f}~{self.id}"

    def is_before(self, journey: EndedJourney) -> bool:
        """Return whether a journey comes after the place, in a list that has the newest ones first."""
        key = round(journey.ended, 6)
        return key < self.ended or (key == self.ended and journey.id > self.id)


@dataclass(frozen=True, slots=True)
class Stock:
    """The journeys that can be searched."""

    kept: Held
    failed: Held
    is_read: bool
    """False while there is more on the topics than was read so far."""
    has_forgotten: bool
    """True if older journeys are on the topics that only their ids find."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of journeys, the newest first."""

    journeys: list[EndedJourney]
    next: Cursor | None
    """The place at which the next page begins; None if all journeys were searched."""
    searched: int
    """Number of journeys that were looked at."""
    failures: int
    """Number of journeys for which the condition could not be evaluated."""
    failure: str
    """The reason for the first of them."""
    stock: Stock


class JourneyArchive:
    """The journeys of a line. A thread of its own reads them, as far as its memory goes."""

    def __init__(self, cluster: Cluster, topics: Topics, memory: JourneyMemory | None = None) -> None:
        """Take a memory to fill, by default an empty one."""
        self.cluster = cluster
        self.topics = topics
        self.memory = JourneyMemory() if memory is None else memory
        self._names = {Shelf.KEPT: topics.journeys, Shelf.FAILED: topics.dead_letters}
        self._tails = {shelf: TopicTail(cluster, name) for shelf, name in self._names.items()}
        self._read_at = float("-inf")
        self._is_read = False
        self._is_stopped = self._is_reached = False
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, "journeys")

    async def search(self, query: Query, after: Cursor | None = None, limit: int = PAGE) -> Found:
        """Return the newest journeys that fit, `limit` at most, of those after a place."""
        return await self._run(lambda: self._search(query, after, limit))

    async def find(self, name: str) -> list[EndedJourney]:
        """Return the journeys of the record with this id, the newest first: a replay begins another one.

        The id of a message with several records stands for all of them. Raise `UsageError` for what is not an id, and
        `ArchiveBusy` if the topics are too large to be searched now.
        """
        wanted = Wanted.of(name)
        return await self._run(lambda: self._find(wanted))

    async def find_on_topics(self, name: str) -> list[EndedJourney]:
        """Return what `find` returns, from the topics alone, however long it takes."""
        wanted = Wanted.of(name)
        return await self._run(lambda: self._find_on_topics(wanted, float("inf")))

    async def aclose(self) -> None:
        """End what is being read."""
        self._is_stopped = True
        for tail in self._tails.values():
            tail.is_stopped = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, act: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise ArchiveBusy("too many others are reading the journeys: try again in a moment")
        self._waiting += 1
        try:
            if not self._is_reached:  # says in detail why a cluster does not let a client in
                await TopicAdmin(self.cluster).partitions([self.topics.journeys])
                self._is_reached = True
            return await asyncio.get_running_loop().run_in_executor(self._thread, act)
        finally:
            self._waiting -= 1

    def _search(self, query: Query, after: Cursor | None, limit: int) -> Found:
        self._read_on()
        found: list[EndedJourney] = []
        seen: set[tuple[str, int]] = set()
        searched, until, following = 0, time.monotonic() + SEARCH_SECONDS, None
        for journey in self.memory.newest_first(None if after is None else after.ended + 1e-6):
            if after is not None and not after.is_before(journey):
                continue
            searched += 1
            name = journey.id, journey.segment.generation
            if name not in seen and query.fits(journey):  # a worker may have written it twice
                seen.add(name)
                found.append(journey)
            if len(found) >= limit or time.monotonic() > until or self._is_stopped:
                following = Cursor(round(journey.ended, 6), journey.id)
                break
            if searched % PAUSE_AFTER == 0:
                time.sleep(PAUSE_SECONDS)
        return Found(found, following, searched, query.failures, query.failure, self._stock())

    def _stock(self) -> Stock:
        memory = self.memory
        has_forgotten = any(memory.forgotten.values())
        return Stock(memory.held(Shelf.KEPT), memory.held(Shelf.FAILED), self._is_read, has_forgotten)

    def _find(self, wanted: Wanted) -> list[EndedJourney]:
        self._read_on()
        found = [one for one in self.memory.of_partition(wanted.partition, wanted.marks) if wanted.is_of(one)]
        if not found and (not self._is_read or any(self.memory.forgotten.values())):
            return self._find_on_topics(wanted, time.monotonic() + FIND_SECONDS)
        return newest_of_each(found)

    def _find_on_topics(self, wanted: Wanted, until: float) -> list[EndedJourney]:
        return newest_of_each([one for shelf in Shelf for one in self._on_topic(shelf, wanted, until)])

    def _on_topic(self, shelf: Shelf, wanted: Wanted, until: float) -> Iterator[EndedJourney]:
        """Yield the journeys of a record on a topic, which is read whole but not remembered."""
        partitions = {wanted.partition} if shelf is Shelf.KEPT else None
        for messages in TopicTail(self.cluster, self._names[shelf]).read(partitions):
            for message in messages:
                raw = raw_message(message)
                if may_hold(raw, wanted.marks):
                    found = journeys_of(shelf, message.partition() or 0, raw)
                    yield from (journey for journey in found if wanted.is_of(journey))
            if time.monotonic() > until:
                raise ArchiveBusy(f"the topics hold too much to be searched now: try `metroline trace {wanted.text}`")
            time.sleep(PAUSE_SECONDS)

    def _read_on(self) -> None:
        """Add what was written since, as far as there is time."""
        if time.monotonic() - self._read_at < FRESH_SECONDS and self._is_read:
            return
        until = time.monotonic() + READ_SECONDS
        reached = {shelf: self._read(shelf, until) for shelf in Shelf}
        self._is_read = all(reached.values())
        self._read_at = time.monotonic()

    def _read(self, shelf: Shelf, until: float) -> bool:
        """Read on a topic until its end or a time; return whether the end was reached."""
        with closing(self._tails[shelf].read()) as lists:
            for messages in lists:
                if not messages:
                    self.memory.clear(shelf)
                for number, message in enumerate(messages):
                    self.memory.add(shelf, message.partition() or 0, raw_message(message))
                    if number % PAUSE_AFTER == 0:
                        time.sleep(PAUSE_SECONDS)
                if time.monotonic() > until or self._is_stopped:
                    return False
        return True


@dataclass(frozen=True, slots=True)
class Wanted:
    """A record that is looked for."""

    text: str
    """Its id."""
    name: str
    """The name of its origin."""
    partition: int
    offset: int
    index: int | None

    @classmethod
    def of(cls, name: str) -> Wanted:
        """Return the record with an id; raise `UsageError` for what is not an id."""
        text = name.strip()
        origin, offset, index = id_of(text)
        return cls(text, origin.name, origin.partition, offset, index)

    @property
    def marks(self) -> Sequence[bytes]:
        """Texts of which every message that holds the record has one."""
        return [str(self.offset).encode()]

    def is_of(self, journey: EndedJourney) -> bool:
        """Return whether a journey is one of the record."""
        return self.is_at(journey.origin.name, journey.origin.partition, journey.record_id)

    def is_at(self, name: str, partition: int, record: RecordId) -> bool:
        """Return whether this is the record, by the name of its origin, its partition, and its id there."""
        if (name, partition, offset_of(record)) != (self.name, self.partition, self.offset):
            return False
        return self.index is None or (type(record) is tuple and record[1] == self.index)


def newest_of_each(found: Sequence[EndedJourney]) -> list[EndedJourney]:
    """Return journeys, each once, the newest first; a worker may have written one twice."""
    once = {(journey.id, journey.segment.generation): journey for journey in found}
    return sorted(once.values(), key=lambda journey: (journey.ended, journey.segment.generation), reverse=True)


def raw_message(message: Message) -> RawMessage:
    """Return a message as the memory keeps it."""
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    return RawMessage(message.offset() or 0, message.value(), message.key(), headers, message.timestamp()[1])
