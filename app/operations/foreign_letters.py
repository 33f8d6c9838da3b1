"""Dead letters of other systems: read from their topic, grouped by cause, and replayed to the topics they came from."""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, cast

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError, KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.structs import RecordMetadata
from confluent_kafka import Message

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_survey import why_absent
from metroline.agents.kafka.topic_tail import Place, TopicTail
from metroline.agents.kafka.topics import TABLE_BYTES, Topics
from metroline.agents.services.line import Line
from metroline.app.markup.numbers import counted
from metroline.app.operations.dead_letters import is_written
from metroline.app.operations.desk import (
    FRESH_SECONDS,
    MAX_PAGE_BYTES,
    MAX_WAITING,
    PAUSE_AFTER,
    PAUSE_SECONDS,
    DeskBusy,
)
from metroline.app.operations.foreign_index import NONE, ForeignGroup, ForeignIndex, Offsets
from metroline.app.operations.letter import DeadLetterError
from metroline.app.operations.permission import Permission
from metroline.app.operations.replay_jobs import JobBoard, note_taken
from metroline.routing.errors import UsageError
from metroline.routing.journeys.foreign_letters import ForeignLetter, NotAForeignLetter, read_foreign, shown_error
from metroline.routing.journeys.replay import MAX_REASON_CHARACTERS
from metroline.routing.journeys.replay_job_board import Jobs, TakenLetters
from metroline.routing.journeys.replay_job_messages import Taken, encoded_offsets

PORTION = 100
"""Letters that are sent, and then noted as sent, together."""

MAX_NAMED = 20
"""Groups or topics that an error names."""

NEVER_WRITTEN = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError, AssertionError)
"""Errors of a message that its topic never takes, as it is."""

ID = re.compile(r"([0-9]{1,9})-([0-9]{1,15})")
"""The id of a letter: its partition and its offset."""


class Found(NamedTuple):
    """A dead letter on its topic."""

    place: Place
    letter: ForeignLetter
    key: bytes | None
    value: bytes | None
    at: float
    """Its timestamp, in seconds since the epoch."""
    headers: Sequence[tuple[str, bytes | None]] = ()
    """All of its headers, also those of the error."""

    @property
    def id(self) -> str:
        return f"{self.place[0]}-{self.place[1]}"

    def error_headers(self) -> list[tuple[str, str]]:
        """Return the headers of the error as text, without stack traces. Some are repeated if it died repeatedly."""
        own = set(self.letter.headers)
        return [
            (name, shown_error(name, value))
            for name, value in self.headers
            if (name, value) not in own and not name.endswith("stacktrace")
        ]

    def as_json(self) -> dict[str, Any]:
        """Return everything that is known about it."""
        letter = self.letter
        return {
            "id": self.id,
            "group": letter.group,
            "system": letter.system,
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "at": self.at,
            "error": letter.error,
            "message": letter.message,
            "stage": letter.stage,
            "stacktrace": letter.stacktrace.splitlines(),
            "key": _shown(self.key),
            "headers": [[name, _shown(value)] for name, value in letter.headers],
            "value": _shown(self.value),
            "base64": None if self.value is None else base64.b64encode(self.value).decode(),
        }


class ForeignPage(NamedTuple):
    """Some dead letters of a group, in the order of their topic."""

    letters: list[Found]
    next: str | None
    """Id of the last one if others follow it, for the next page."""


class ForeignNote(NamedTuple):
    """The note that is made of some letters once they are replayed or discarded, as in `Taken`."""

    order: str
    part: int = 0
    reason: str | None = None
    job: str | None = None


class ForeignDesk:
    """The dead letters on a topic of another system that were neither replayed nor discarded by us."""

    def __init__(self, cluster: Cluster, topics: Topics, topic: str, line: Line, board: JobBoard | None = None) -> None:
        """Take the board that knows what was replayed; by default one is made for each question.

        Raise `UsageError` for the topic of the line itself.
        """
        if topic == topics.dead_letters:
            raise UsageError(f"{topic}: these are the dead letters of the line itself, not of another system")
        self._cluster, self._topics, self.topic = cluster, topics, topic
        self._ends = {end.topic for end in line.options.ends.values()} | set(topics.ends.values())
        self._letters = {topic, *line.options.dead_letters.topics}
        self._tail = TopicTail(cluster, topic)
        self._board = board
        self._index = ForeignIndex()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._read_at = float("-inf")
        self._is_there = False

    def close(self) -> None:
        """End what is being read."""
        self._tail.is_stopped = True

    @property
    def others(self) -> int:
        """Number of messages on the topic that are no dead letters."""
        return self._index.others

    @property
    def left_out(self) -> int:
        """Number of dead letters that are not listed, since there are too many."""
        return self._index.left_out

    async def look(self, jobs: Jobs | None = None) -> tuple[ForeignIndex, TakenLetters]:
        """Read on; return the index, and the letters that are gone, by these jobs, which are read by default.

        Raise `DeadLetterError` if there is no such topic, `DeskBusy` if too many others wait, and `ClusterError`.
        """
        if self._waiting >= MAX_WAITING:
            raise DeskBusy(f"too many others are reading {self.topic}: try again in a moment")
        self._waiting += 1
        try:
            if not self._is_there and self.topic not in await TopicAdmin(self._cluster).partitions([self.topic]):
                raise DeadLetterError(await why_absent(self._cluster, self.topic))
            self._is_there = True
            known = jobs or await self._jobs()
            if known.is_full:  # letters that were replayed would be listed, and replayed again
                raise DeadLetterError(
                    f"{self._topics.replay_jobs} has more notes about dead letters of other systems than are kept, so "
                    "that it is not known which letters were replayed: find out who wrote them, and delete theirs"
                )
            taken = known.taken.get(self.topic) or TakenLetters()
            async with self._turn:
                if time.monotonic() - self._read_at > FRESH_SECONDS:
                    await asyncio.to_thread(self._read, taken.places)
                    self._read_at = time.monotonic()
            return self._index, taken
        finally:
            self._waiting -= 1

    async def _jobs(self) -> Jobs:
        if self._board is not None:
            return await self._board.jobs()
        board = JobBoard(self._cluster, self._topics)
        try:
            return await board.jobs()
        finally:
            await board.close()

    async def begins(self) -> dict[int, int]:
        """Return the first offset that each partition of the topic holds; raise `ClusterError`."""
        return {partition: begin for partition, (begin, _) in (await asyncio.to_thread(self._tail.ends)).items()}

    async def groups(self) -> list[ForeignGroup]:
        """Return the groups, the largest one first. It raises what `look` raises."""
        index, taken = await self.look()
        return index.groups(taken.places)

    async def group(self, name: str) -> ForeignGroup:
        """Return a group; raise `DeadLetterError` if there is none with this id."""
        groups = await self.groups()
        for one in groups:
            if one.id == name:
                return one
        named = ", ".join(one.id for one in groups[:MAX_NAMED]) or "no dead letters"
        raise DeadLetterError(f"there is no group {name!r}; there are {named}")

    async def page(self, name: str, after: str | None, limit: int) -> ForeignPage:
        """Return letters of a group, from behind the one with the id `after` on."""
        group = await self.group(name)
        places = list(islice(group.listed(None if after is None else parse_place(after)), limit + 1))
        wanted = places[:limit]
        letters = await self.fetched(wanted)
        last = letters[-1].place if letters else None
        is_last = len(places) <= limit and (last is None or last == wanted[-1])
        return ForeignPage(letters, None if is_last or last is None else letters[-1].id)

    async def chosen(self, ids: Sequence[str], group: str | None) -> list[Place]:
        """Return the places of these letters, or of those of a group; raise `DeadLetterError` if one is not there."""
        if group is not None:
            return list((await self.group(group)).listed())
        groups = await self.groups()
        places = [parse_place(name) for name in dict.fromkeys(ids)]
        for partition, offset in places:
            if not any(offset in one.places.get(partition, NONE) for one in groups):
                raise DeadLetterError(f"{partition}-{offset} is no dead letter on {self.topic}, or none any more")
        return sorted(places)

    async def fetched(self, places: Sequence[Place]) -> list[Found]:
        """Return the letters at these places, in order, without any that were deleted.

        They end with `MAX_PAGE_BYTES`, if they are several.
        """
        found = await asyncio.to_thread(self._fetch, places)
        if not found or found[-1].place == max(places):  # all that are missing were deleted
            self._index.drop(iter(set(places) - {one.place for one in found}))
        return found

    def _fetch(self, places: Sequence[Place]) -> list[Found]:
        found, size = list[Found](), 0
        for message in self._tail.fetch(set(places)):
            one = _found(message)
            size += len(message.value() or b"")
            if one is not None and (not found or size <= MAX_PAGE_BYTES):
                found.append(one)
            if size > MAX_PAGE_BYTES:
                break
        return found

    async def replay(self, places: Sequence[Place], rate: float, permission: Permission) -> AsyncIterator[int]:
        """Send letters to the topics that they came from, `rate` per second. Yield the number that is confirmed.

        It raises what `send` raises, and `DeadLetterError` at the end if letters may not be sent to their topics, or
        can never be written to them.
        """
        permission.demand()
        began, done, order, part = time.monotonic(), 0, uuid.uuid4().hex, itertools.count()
        kept: dict[Place, str] = {}
        for portion in _portions(places):
            left: Sequence[Place] = portion
            while letters := await self.fetched(left):
                refused = await self.refusals({found.letter.topic for found in letters})
                kept |= {one.place: refused[one.letter.topic] for one in letters if one.letter.topic in refused}
                good = [found for found in letters if found.place not in kept]
                if good:
                    note = ForeignNote(order, next(part))
                    problems = await self.send(good, permission, note, partial(_due, began + done / rate, rate))
                    kept |= problems
                    done += len(good) - len(problems)
                    yield done
                left = [place for place in left if place > letters[-1].place]
                if not left:
                    break
        if kept:
            raise DeadLetterError(_of_kept(done, kept))

    async def send(
        self,
        letters: Sequence[Found],
        permission: Permission,
        note: ForeignNote,
        due: Callable[[int], float] = lambda _: 0.0,
    ) -> dict[Place, str]:
        """Send letters to the topics that they came from, and note them as replayed once they are confirmed.

        Key, value, timestamp and their own headers stay as they are, byte for byte; the key decides the partition. If
        this ends before they are noted, they are sent again. `due` returns the time (monotonic) for each of them.
        Return why letters can never be written to their topics. Raise `ClusterError` if others were not written.
        """
        permission.demand()
        partitions = await TopicAdmin(self._cluster).partitions(sorted({found.letter.topic for found in letters}))
        begun: list[tuple[Found, asyncio.Future[RecordMetadata]]] = []
        failed: list[tuple[Found, BaseException]] = []
        try:
            async with self._cluster.producer(max_request_size=TABLE_BYTES) as producer:
                for number, found in enumerate(letters):
                    await asyncio.sleep(max(0.0, due(number) - time.monotonic()))
                    try:
                        begun.append((found, await _begin(producer, found, partitions.get(found.letter.topic, 1))))
                    except (KafkaError, AssertionError) as error:
                        failed.append((found, error))
                if begun:
                    await asyncio.wait([future for _, future in begun])  # which cancels none if this is cancelled
        except KafkaError as error:
            raise ClusterError(f"nothing can be written to {self._cluster.bootstrap}: {error}") from error
        finally:
            written = [(found, future.result()) for found, future in begun if is_written(future)]
            if written:
                await self._note([found.place for found, _ in written], permission, note, _sent(written))
        failed += [(found, problem) for found, future in begun if (problem := future.exception()) is not None]
        for found, problem in failed:
            if not isinstance(problem, NEVER_WRITTEN):
                raise ClusterError(f"{found.id} cannot be written to {found.letter.topic}: {problem}") from problem
        return {found.place: f"{found.letter.topic} does not take it: {problem}" for found, problem in failed}

    async def discard(self, places: Sequence[Place], reason: str, permission: Permission) -> None:
        """Note that letters need nothing more."""
        await self._note(places, permission, ForeignNote(uuid.uuid4().hex, reason=reason[:MAX_REASON_CHARACTERS]))

    async def _note(
        self,
        places: Sequence[Place],
        permission: Permission,
        note: ForeignNote,
        sent: Mapping[str, Sequence[Place]] | None = None,
    ) -> None:
        taken = Taken(
            order=note.order,
            part=note.part,
            topic=self.topic,
            at=time.time(),
            by=permission.demand()[:200] or "unknown",
            places=_encoded(places),
            reason=note.reason,
            job=note.job,
            sent={topic: _encoded(theirs) for topic, theirs in (sent or {}).items()},
        )
        await note_taken(self._cluster, self._topics, taken, permission)

    async def refusals(self, topics: set[str]) -> dict[str, str]:
        """Return the topics to which letters may not be replayed, with the reasons.

        The headers that name them were written by others: they lead to no topic of the line but its source.
        """
        refused = {topic: reason for topic in sorted(topics) if (reason := self._refusal(topic)) is not None}
        allowed = sorted(topics - refused.keys())
        found = await TopicAdmin(self._cluster).partitions(allowed)
        missing = {
            topic: f"a dead letter belongs to {topic}: {await why_absent(self._cluster, topic)}"
            for topic in allowed
            if topic not in found
        }
        return refused | missing

    def _refusal(self, topic: str) -> str | None:
        """Return why nothing is replayed to a topic; None if letters may go there."""
        topics = self._topics
        is_inner = topic.startswith(f"{topics.prefix}.") and topic != topics.source
        if is_inner or topic in self._letters:
            return f"a dead letter names {topic} as its topic, to which nothing is replayed"
        if topic.startswith("__"):
            return f"a dead letter names {topic} as its topic, which is one of Kafka's own"
        if topic in self._ends:
            return f"a dead letter names {topic} as its topic, which is an end of the line"
        return None

    def _read(self, gone: Offsets) -> None:
        if self._index.has_room(gone):
            self._index.clear()
            self._tail.reset()
        for messages in self._tail.read():
            if not messages:
                self._index.clear()
            for number, message in enumerate(messages):
                found = _found(message)
                if found is None:
                    self._index.others += 1
                else:
                    is_gone = found.place[1] in gone.get(found.place[0], NONE)
                    self._index.add(found.place, found.letter, found.at, is_gone=is_gone)
                if number % PAUSE_AFTER == 0:
                    time.sleep(PAUSE_SECONDS)


def desks_of(cluster: Cluster, topics: Topics, line: Line, board: JobBoard) -> dict[str, ForeignDesk]:
    """Return the desks of the topics that a line reads, by their names."""
    return {topic: ForeignDesk(cluster, topics, topic, line, board) for topic in line.options.dead_letters.topics}


def _found(message: Message) -> Found | None:
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    try:
        letter = read_foreign(headers)
    except NotAForeignLetter:
        return None
    key, value = message.key(), message.value()
    at = max(0, message.timestamp()[1]) / 1_000
    return Found((message.partition() or 0, message.offset() or 0), letter, key, value, at, headers)


def _partition(found: Found, partitions: int) -> int | None:
    """Return the partition for a letter: None if its key decides, else the one that it came from, if there still is."""
    if found.key is not None:
        return None
    return (found.letter.partition or 0) % partitions


def parse_place(name: str) -> Place:
    """Return the place of a letter by its id; raise `UsageError` for what is none."""
    match = ID.fullmatch(name)
    if match is None:
        raise UsageError(f"{name:.100} is not the id of a dead letter of another system, which looks like 0-17")
    return int(match[1]), int(match[2])


async def _begin(producer: AIOKafkaProducer, found: Found, partitions: int) -> asyncio.Future[RecordMetadata]:
    """Begin to write a letter to its topic."""
    return cast(
        "asyncio.Future[RecordMetadata]",
        await producer.send(
            found.letter.topic,
            found.value,
            key=found.key,
            partition=_partition(found, partitions),
            timestamp_ms=int(found.at * 1_000),
            headers=list(found.letter.headers),
        ),
    )


def _sent(written: Sequence[tuple[Found, RecordMetadata]]) -> dict[str, list[Place]]:
    """Return where letters stand since, by topic."""
    sent: dict[str, list[Place]] = {}
    for found, at in written:
        sent.setdefault(found.letter.topic, []).append((at.partition, at.offset))
    return sent


def _encoded(places: Iterable[Place]) -> dict[str, str]:
    """Return places as notes have them."""
    by_partition: dict[str, list[int]] = {}
    for partition, offset in places:
        by_partition.setdefault(str(partition), []).append(offset)
    return {partition: encoded_offsets(offsets) for partition, offsets in by_partition.items()}


def _of_kept(done: int, kept: Mapping[Place, str]) -> str:
    """Return why a replay left letters as they are, in one line."""
    by_reason: dict[str, list[str]] = {}
    for (partition, offset), reason in kept.items():
        by_reason.setdefault(reason, []).append(f"{partition}-{offset}")
    told = [f"{_listed(ids)}: {reason}" for reason, ids in islice(by_reason.items(), MAX_NAMED)]
    more = len(by_reason) - len(told)
    others = f"; others for {counted(more, 'more reason')}" if more else ""
    stay = "stays as it is" if len(kept) == 1 else "stay as they are"
    return f"{done:,} replayed, but {counted(len(kept), 'dead letter')} {stay}: {'; '.join(told)}{others}"


def _listed(ids: Sequence[str]) -> str:
    """Return the first of these ids, and the number of the others."""
    more = len(ids) - MAX_NAMED
    return ", ".join(ids[:MAX_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _due(began: float, rate: float, number: int) -> float:
    return began + number / rate


def _portions(places: Sequence[Place]) -> Iterable[Sequence[Place]]:
    return (places[first : first + PORTION] for first in range(0, len(places), PORTION))


def _shown(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
