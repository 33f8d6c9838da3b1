"""Dead letters of other systems: read from their topic, grouped by cause, and replayed to the topics they came from."""

from __future__ import annotations

import asyncio
import base64
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from aiokafka.errors import KafkaError
from confluent_kafka import Message

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_tail import Place, TopicTail
from metroline.agents.kafka.topics import TABLE_BYTES, Topics
from metroline.app.operations.letter import DeadLetterError
from metroline.app.operations.permission import Permission
from metroline.app.operations.replay_jobs import JobBoard, note_taken
from metroline.routing.errors import UsageError
from metroline.routing.journeys.foreign_letters import ForeignLetter, NotAForeignLetter, read_foreign
from metroline.routing.journeys.replay import MAX_REASON_CHARACTERS
from metroline.routing.journeys.replay_jobs import Taken

PORTION = 100
"""Letters that are sent, and then noted as sent, together."""

MAX_NAMED = 20
"""Groups or topics that an error names."""

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

    @property
    def id(self) -> str:
        return f"{self.place[0]}-{self.place[1]}"

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


@dataclass(slots=True)
class ForeignGroup:
    """Dead letters of another system with one cause."""

    example: ForeignLetter
    places: list[Place] = field(default_factory=list)
    first: float = float("inf")
    last: float = 0.0

    def as_json(self) -> dict[str, Any]:
        one, (partition, offset) = self.example, self.places[0]
        return {
            "group": one.group,
            "system": one.system,
            "topic": one.topic,
            "stage": one.stage,
            "error": one.error,
            "message": one.message,
            "count": len(self.places),
            "first": self.first,
            "last": self.last,
            "example": f"{partition}-{offset}",
        }


class ForeignDesk:
    """The dead letters on a topic of another system that were neither replayed nor discarded by us."""

    def __init__(self, cluster: Cluster, topics: Topics, topic: str) -> None:
        """Raise `UsageError` for the topic of the line itself."""
        if topic == topics.dead_letters:
            raise UsageError(f"--from {topic}: these are the dead letters of the line itself; leave out --from")
        self._cluster, self._topics, self.topic = cluster, topics, topic
        self._tail = TopicTail(cluster, topic)
        self.others = 0
        """Number of messages on the topic that are no dead letters."""

    async def groups(self) -> list[ForeignGroup]:
        """Return the groups, the largest one first; raise `ClusterError` if there is no such topic."""
        if self.topic not in await TopicAdmin(self._cluster).partitions([self.topic]):
            raise DeadLetterError(f"--from {self.topic}: there is no such topic")
        board = JobBoard(self._cluster, self._topics)
        try:
            taken = (await board.jobs()).taken.get(self.topic, set())
        finally:
            await board.close()
        found = await asyncio.to_thread(self._read, taken)
        return sorted(found.values(), key=lambda group: (-len(group.places), group.example.group))

    async def chosen(self, ids: Sequence[str], group: str | None) -> list[Place]:
        """Return the places of these letters, or of those of a group; raise `DeadLetterError` if one is not there."""
        groups = await self.groups()
        if group is not None:
            for one in groups:
                if one.example.group == group:
                    return one.places
            named = ", ".join(one.example.group for one in groups[:MAX_NAMED]) or "no dead letters"
            raise DeadLetterError(f"there is no group {group!r}; there are {named}")
        there = {place for one in groups for place in one.places}
        places = [_place(name) for name in dict.fromkeys(ids)]
        for partition, offset in places:
            if (partition, offset) not in there:
                raise DeadLetterError(f"{partition}-{offset} is no dead letter on {self.topic}, or none any more")
        return sorted(places)

    async def fetched(self, places: Iterable[Place]) -> list[Found]:
        """Return the letters at these places, without any that were deleted."""
        messages = await asyncio.to_thread(lambda: list(self._tail.fetch(set(places))))
        return [found for message in messages if (found := _found(message)) is not None]

    async def replay(self, places: Sequence[Place], rate: float, permission: Permission) -> AsyncIterator[int]:
        """Send letters to the topics that they came from, `rate` per second. Yield the number that is confirmed.

        Key, value, timestamp and their own headers stay as they are, byte for byte; the key decides the partition. A
        letter is noted as replayed once it is confirmed: if this ends before, up to `PORTION` are sent again.
        """
        permission.demand()
        began, done = time.monotonic(), 0
        async with self._cluster.producer(max_request_size=TABLE_BYTES) as producer:
            for portion in _portions(places):
                letters = await self.fetched(portion)
                partitions = await self._checked({found.letter.topic for found in letters})
                for number, found in enumerate(letters):
                    await asyncio.sleep(max(0.0, began + (done + number) / rate - time.monotonic()))
                    try:
                        await producer.send_and_wait(
                            found.letter.topic,
                            found.value,
                            key=found.key,
                            partition=_partition(found, partitions[found.letter.topic]),
                            timestamp_ms=int(found.at * 1_000),
                            headers=list(found.letter.headers),
                        )
                    except (KafkaError, AssertionError) as error:
                        await self._note([one.place for one in letters[:number]], permission)
                        raise ClusterError(f"{found.id} cannot be written to {found.letter.topic}: {error}") from error
                await self._note([found.place for found in letters], permission)
                done += len(letters)
                yield done

    async def discard(self, places: Sequence[Place], reason: str, permission: Permission) -> None:
        """Note that letters need nothing more."""
        await self._note(places, permission, reason[:MAX_REASON_CHARACTERS])

    async def _note(self, places: Sequence[Place], permission: Permission, reason: str | None = None) -> None:
        for first in range(0, len(places), 10_000):
            by_partition: dict[str, list[int]] = {}
            for partition, offset in places[first : first + 10_000]:
                by_partition.setdefault(str(partition), []).append(offset)
            taken = Taken(
                order=uuid.uuid4().hex,
                topic=self.topic,
                at=time.time(),
                by=permission.demand()[:200] or "unknown",
                places={partition: tuple(offsets) for partition, offsets in by_partition.items()},
                reason=reason,
            )
            await note_taken(self._cluster, self._topics, taken, permission)

    async def _checked(self, topics: set[str]) -> dict[str, int]:
        """Return the partitions of the topics that letters go to; raise `DeadLetterError` unless they may go there.

        The headers that name them were written by others: they lead to no topic of the line but its source.
        """
        for topic in sorted(topics):
            is_inner = topic.startswith(f"{self._topics.prefix}.") and topic != self._topics.source
            if is_inner or topic == self.topic:
                raise DeadLetterError(f"a dead letter names {topic} as its topic, to which nothing is replayed")
        found = await TopicAdmin(self._cluster).partitions(sorted(topics))
        if missing := sorted(topics - found.keys()):
            raise DeadLetterError(f"there is no topic {missing[0]}, to which a dead letter belongs")
        return found

    def _read(self, taken: set[Place]) -> dict[str, ForeignGroup]:
        groups: dict[str, ForeignGroup] = {}
        for messages in self._tail.read():
            for message in messages:
                found = _found(message)
                if found is None:
                    self.others += 1
                elif found.place not in taken:
                    group = groups.setdefault(found.letter.group, ForeignGroup(found.letter))
                    group.places.append(found.place)
                    group.first, group.last = min(group.first, found.at), max(group.last, found.at)
        self._tail.reset()
        return groups


def _found(message: Message) -> Found | None:
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    try:
        letter = read_foreign(headers)
    except NotAForeignLetter:
        return None
    key, value = message.key(), message.value()
    at = max(0, message.timestamp()[1]) / 1_000
    return Found((message.partition() or 0, message.offset() or 0), letter, key, value, at)


def _partition(found: Found, partitions: int) -> int | None:
    """Return the partition for a letter: None if its key decides, else the one that it came from, if there still is."""
    if found.key is not None:
        return None
    return (found.letter.partition or 0) % partitions


def _place(name: str) -> Place:
    match = ID.fullmatch(name)
    if match is None:
        raise UsageError(f"{name:.100} is not the id of a dead letter of another system, which looks like 0-17")
    return int(match[1]), int(match[2])


def _portions(places: Sequence[Place]) -> Iterable[Sequence[Place]]:
    return (places[first : first + PORTION] for first in range(0, len(places), PORTION))


def _shown(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
