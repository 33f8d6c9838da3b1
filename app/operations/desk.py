"""The desk: reads the dead letters of a line in a thread, and keeps an index of them for the next time."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

import msgspec
from confluent_kafka import Message
from pyroaring import BitMap

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.entries import owned_entry
from metroline.app.operations.desk_index import BlockMarks, DeskIndex, Reference
from metroline.app.operations.letter import DeadLetterError, Group, Letter
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.block_checks import check_block
from metroline.routing.journeys.dead_letter_messages import read_dead_letter
from metroline.routing.journeys.dead_letters import MALFORMED_ORIGIN
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, EMPTY
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin

FRESH_SECONDS = 0.2
"""Time for which the index is not read on. Dead letters that are newer may be missing from a page."""

MAX_WAITING = 4
"""Number of readers that wait for each other. Another one is refused at once: each has one of the sixteen turns of the
web server, of which others need most."""

PAGE = 100
"""Dead letters on a page, unless another number is asked for."""

MAX_PAGE = 1_000
"""Maximum number of dead letters on a page."""

MAX_PAGE_BYTES = 8 * 1024 * 1024
"""Bytes of records after which a page ends. One with a single record may be larger."""

MAX_LISTED = 20
"""Groups that an error names."""

PAUSE_AFTER = 100
"""Messages after which the thread lets the event loop, which carries the records, have the interpreter."""

PAUSE_SECONDS = 0.001

ROOM_SHARE = 0.25
"""Share of the listed dead letters that have to be gone before the topic is read again at once for those left out."""

REREAD_FACTOR = 20
"""Ratio of the time between two readings of the whole topic to the time that one takes, while fewer are gone."""

WHOLE_MESSAGES = BitMap(range(BLOCK_OFFSETS))
"""The marks of records that are the only ones of their messages."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class DeskBusy(MetrolineError):
    """Raised when too many others are reading the dead letters already."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some dead letters of a group, in the order in which they were settled."""

    letters: list[Letter]
    next: str | None
    """Id of the last one if others follow it, for the next page."""


class _Entry(msgspec.Struct):
    """An entry of the table `outcomes`, as far as the desk reads it."""

    epoch: int = 0
    dead: str = ""
    generations: list[tuple[int, str]] = []
    whole: str = ""
    partial: dict[str, tuple[int, str]] = {}

    def marks(self) -> BlockMarks:
        """Return the marks of the dead letters; raise ValueError if they cannot be read."""
        dead = _bitmap(self.dead) if self.dead else BitMap()
        generations = {generation: _bitmap(marks) for generation, marks in self.generations}
        restarted = BitMap.union(*generations.values()) if generations else EMPTY
        return BlockMarks(dead, generations, self._ended(restarted) if restarted else EMPTY)

    def _ended(self, restarted: BitMap) -> BitMap:
        """Return those of these marks whose records have an outcome."""
        whole = _bitmap(self.whole) if self.whole else EMPTY
        single = restarted & WHOLE_MESSAGES
        ended = BitMap(single & whole)
        partial = {int(place): _bitmap(settled) for place, (_, settled) in self.partial.items()}
        for mark in restarted - single:
            line, place = divmod(mark, BLOCK_OFFSETS)
            if place in whole or line - 1 in partial.get(place, EMPTY):
                ended.add(mark)
        return ended


class _Epoch(msgspec.Struct):
    """The epoch of an entry of the table."""

    epoch: int = 0


_EPOCHS = msgspec.json.Decoder(_Epoch)


class Desk:
    """The dead letters of a line that were neither replayed nor discarded. A thread of its own reads them."""

    def __init__(self, cluster: Cluster, topics: Topics, index: DeskIndex | None = None) -> None:
        """Take an index to fill, by default an empty one."""
        self.cluster = cluster
        self.topics = topics
        self.index = DeskIndex() if index is None else index
        self._letters = TopicTail(cluster, topics.dead_letters)
        self._outcomes = TopicTail(cluster, topics.changelog("outcomes"))
        self._epochs: dict[bytes, int] = {}
        self._read_at = float("-inf")
        self._filled_at = float("-inf")
        """Time at which the whole topic was last read."""
        self._filling_seconds = 0.0
        """Time that this took."""
        self._waiting = 0
        self._is_reached = False
        self._thread = ThreadPoolExecutor(1, "dead letters")

    async def groups(self) -> list[Group]:
        """Return the groups of dead letters, the largest one first."""
        return await self._run(self.index.groups)

    async def page(self, group: str, after: str | None = None, limit: int = PAGE) -> Page:
        """Return a page of a group; `after` is the id of the dead letter before it.

        Raise `DeadLetterError` if there is no such group or dead letter.
        """
        return await self._run(lambda: self._page(group, after, limit))

    async def named(self, ids: Collection[str]) -> list[Letter]:
        """Return the dead letters with these ids, without any that were deleted.

        Raise `DeadLetterError` if one is not dead, and `UsageError` for what is not an id at all.
        """
        return [letter async for letters in self.chosen(ids, None) for letter in letters]

    async def chosen(self, ids: Collection[str], group: str | None) -> AsyncIterator[list[Letter]]:
        """Yield the dead letters with these ids, or those of a group, in lists of the size of a page."""
        if group is None:
            found = await self._run(lambda: self._references(ids))  # refuses all if one of them is wrong
            for some in _portions(found, MAX_PAGE):
                yield await self._run(partial(self._fetch, some))
            return
        page = await self.page(group, limit=MAX_PAGE)
        yield page.letters
        while page.next is not None:
            page = await self.page(group, page.next, MAX_PAGE)
            yield page.letters

    async def asked(self, question: Callable[[DeskIndex], T]) -> T:
        """Return the answer to a question about the index, which a thread asks once it has read on."""
        return await self._run(lambda: question(self.index))

    async def fetched(self, references: Sequence[Reference]) -> list[Letter]:
        """Return dead letters in their order, without any that were deleted."""
        return await self._run(lambda: self._fetch(references))

    def expire(self) -> None:
        """Read on before the next answer in any case, as after a replay."""
        self._read_at = float("-inf")

    async def close(self) -> None:
        """End what is being read."""
        self._letters.is_stopped = self._outcomes.is_stopped = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, act: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise DeskBusy("too many others are reading the dead letters: try again in a moment")
        self._waiting += 1
        try:
            if not self._is_reached:  # says in detail why a cluster does not let a client in
                await TopicAdmin(self.cluster).partitions([self.topics.dead_letters])
                self._is_reached = True
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: self._fresh(act))
        finally:
            self._waiting -= 1

    def _fresh(self, act: Callable[[], T]) -> T:
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            self._read_blocks()
            self._read_letters()
            self._read_blocks()  # a record is written to the topic before it is counted
            self._read_at = time.monotonic()
        return act()

    def _read_letters(self) -> None:
        began, was_full = time.monotonic(), self.index.is_full
        is_anew = was_full and self._is_worth_rereading(began)
        if is_anew:
            self.index.clear()  # those that were replayed make room
            self._letters.reset()
        for messages in self._letters.read():
            if not messages:
                self.index.clear()
            for number, message in enumerate(messages):
                self._add(message)
                if number % PAUSE_AFTER == 0:
                    time.sleep(PAUSE_SECONDS)
        if is_anew or self._filled_at == float("-inf"):
            self._filled_at = time.monotonic()
            self._filling_seconds = self._filled_at - began
        if self.index.is_full and (is_anew or not was_full):
            log.warning("%d dead letters are not listed, since there are too many", self.index.left_out)

    def _is_worth_rereading(self, now: float) -> bool:
        """Return whether the whole topic is to be read again, since there is room for letters that were left out.

        A job makes room all the time, and reading a million letters takes a minute.
        """
        gone = self.index.gone
        is_rested = now - self._filled_at >= REREAD_FACTOR * self._filling_seconds
        return gone > 0 and (gone >= ROOM_SHARE * len(self.index) or is_rested)

    def _add(self, message: Message) -> None:
        try:
            envelope, settled = read_message(message)
            place = message.partition() or 0, message.offset() or 0
            self.index.add(place, _size_of(message), envelope, settled)
        except (MetrolineError, ValueError, TypeError, LookupError, OverflowError):
            self.index.foreign += 1  # no worker of this line wrote it

    def _read_blocks(self) -> None:
        for messages in self._outcomes.read():
            if not messages:
                self._epochs.clear()
            changed: dict[bytes, BlockMarks] = {}
            for key, entries in _by_key(messages).items():
                known = self._epochs.get(key, 0)
                for epoch, message in entries:
                    marks = _marks_in(key, message) if epoch >= known else None
                    if marks is not None:
                        self._epochs[key], changed[key] = epoch, marks
                        break
            self.index.settle(changed)
            time.sleep(PAUSE_SECONDS)

    def _page(self, group: str, after: str | None, limit: int) -> Page:
        portions = _portions(self.index.references(group, after), limit)
        try:
            some = next(portions, [])
        except LookupError as error:
            raise DeadLetterError(f"{after} is no dead letter of the group {group!r}") from error
        if not some and after is None:
            groups = ", ".join(one.id for one in self.index.groups()[:MAX_LISTED]) or "no dead letters"
            raise DeadLetterError(f"there is no group {group!r}; there are {groups}")
        is_last = next(portions, None) is None
        return Page(self._fetch(some), None if is_last else some[-1].id)

    def _references(self, ids: Collection[str]) -> list[Reference]:
        found = []
        for name in dict.fromkeys(ids):
            reference = self.index.reference(name)
            if reference is None:
                raise DeadLetterError(f"{name} is no dead letter: it has another outcome, is under way, or never came")
            found.append(reference)
        return sorted(found, key=lambda reference: (reference.settled, reference.place))

    def _fetch(self, wanted: Sequence[Reference]) -> list[Letter]:
        """Return the dead letters in their order, without any that were deleted."""
        ids = {reference.id for reference in wanted}
        found: dict[str, Letter] = {}
        for message in self._letters.fetch({reference.place for reference in wanted}):
            envelope, settled = read_message(message)
            found |= {letter.id: letter for letter in _letters(envelope, settled, self._topic_of) if letter.id in ids}
        return [found[reference.id] for reference in wanted if reference.id in found]

    def _topic_of(self, origin: Origin) -> str:
        """Return the topic in which the records of an origin entered."""
        if origin.name.startswith(MALFORMED_ORIGIN):
            return self.topics.at(origin.name.removeprefix(MALFORMED_ORIGIN))
        return self.topics.source


def _by_key(messages: Iterable[Message]) -> dict[bytes, list[tuple[int, Message]]]:
    """Return the entries of the table by their keys, with their epochs: first the one that counts if a worker wrote it.

    That is the latest one of the highest epoch. A changelog has an entry of the same few blocks for each second, and to
    read one whole takes twenty times as long as its epoch.
    """
    found: dict[bytes, list[tuple[int, Message]]] = {}
    for message in reversed(list(messages)):
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # no worker of this line wrote it
            epoch = _EPOCHS.decode(message.value() or b"").epoch
            found.setdefault(cast(bytes, message.key()), []).append((epoch, message))
    for entries in found.values():
        entries.sort(key=lambda entry: -entry[0])  # which leaves the latest of an epoch first
    return found


def _marks_in(key: bytes, message: Message) -> BlockMarks | None:
    """Return the marks of the dead letters in an entry of the table; None if no worker of this line wrote it."""
    try:
        _, value = owned_entry(key, message.value(), message.partition() or 0)
        check_block(key.decode(), value)
        return msgspec.convert(value, _Entry).marks()
    except (MetrolineError, ValueError, TypeError, msgspec.MsgspecError):
        return None


def read_message(message: Message) -> tuple[Envelope, float]:
    """Return the dead letters in a message, and the time of their settlement in seconds since the epoch.

    Raise `MalformedEnvelope`, among other errors, if it is no dead letter.
    """
    _, timestamp = message.timestamp()
    return read_dead_letter(message.value() or b"", message.key(), _headers(message), timestamp)


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    return cast("list[tuple[str, bytes | None]]", message.headers() or [])


def _letters(envelope: Envelope, settled: float, topic_of: Callable[[Origin], str]) -> Iterator[Letter]:
    topic = topic_of(envelope.origin)
    for segment in envelope.segments:
        for place in range(len(segment.ids)):
            yield Letter(Envelope(envelope.strategy, envelope.origin, (segment.part([place]),)), settled, topic)


def _size_of(message: Message) -> int:
    return len(message.value() or b"") + sum(len(value or b"") for _, value in _headers(message))


def _portions(references: Iterable[Reference], limit: int) -> Iterator[list[Reference]]:
    """Yield dead letters in lists of at most `limit`, which hold `MAX_PAGE_BYTES` or a single dead letter."""
    portion: list[Reference] = []
    size = 0
    for reference in references:
        if portion and (len(portion) >= limit or size + reference.size > MAX_PAGE_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(reference)
        size += reference.size
    if portion:
        yield portion


def _bitmap(encoded: str) -> BitMap:
    return BitMap.deserialize(base64.b64decode(encoded))
