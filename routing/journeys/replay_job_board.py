"""All replay jobs, the journal of dead letters, and the letters of other systems that were taken, from their topic.

The topic is the truth. People write orders, one worker at a time carries them out, and everyone who reads the topic
finds the same jobs. A worker that takes over writes a claim first, and its claim's offset is its epoch: what a former
worker writes late has a lower one, and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace
from pyroaring import BitMap64

from metroline.routing.journeys.replay_job_messages import (
    DELETED,
    MAX_NUMBER,
    TAKEN,
    Ask,
    Claim,
    Done,
    Members,
    Message,
    NotAJobMessage,
    Progress,
    Start,
    Taken,
    decode,
    encoded_offsets,
    key_of,
    offsets_in,
)
from metroline.routing.journeys.replay_jobs import Job

MAX_JOBS = 1_000
"""Number of jobs that are kept."""

MAX_ASKS = 1_000
"""Number of orders to a job that are kept."""

MAX_DONE = 10_000
"""Number of entries of the journal that are kept: replays and discards without a job."""

JOURNAL_BYTES = 8 * 1024 * 1024
"""Size of the journal, and again of the letters of jobs that have ended, from which on the oldest make room."""

TAKEN_BYTES = 64 * 1024 * 1024
"""Size of all notes about letters of other systems. Those of a million letters take 25 MiB until they are put together,
and hardly anything after that."""

MAX_SURPLUS = 100_000
"""Number of entries without room that are remembered until a worker deletes them."""


class TakenEntry(NamedTuple):
    """Dead letters of another system that were replayed or discarded together."""

    order: str
    part: int
    at: float
    by: str
    reason: str | None
    job: str | None
    places: dict[int, BitMap64]
    """The offsets, by partition."""
    sent: dict[tuple[str, int], BitMap64]
    """The offsets at which they stand since, by topic and partition."""
    weight: int
    """About how many bytes it takes in memory."""

    @classmethod
    def of(cls, taken: Taken) -> TakenEntry:
        places = {int(partition): offsets_in(encoded) for partition, encoded in taken.places.items()}
        sent = {
            (topic, int(partition)): offsets_in(encoded)
            for topic, partitions in taken.sent.items()
            for partition, encoded in partitions.items()
        }
        encoded = [*taken.places.values(), *(one for places in taken.sent.values() for one in places.values())]
        weight = 1_000 + sum(len(one) + 500 for one in encoded)
        return cls(taken.order, taken.part, taken.at, taken.by, taken.reason, taken.job, places, sent, weight)

    @property
    def size(self) -> int:
        """The number of letters."""
        return sum(map(len, self.places.values()))

    def is_before(self, begins: Mapping[int, int]) -> bool:
        """Return whether all offsets are lower than those of their partitions."""
        return all(offsets.max() < begins.get(partition, 0) for partition, offsets in self.places.items() if offsets)


class TakenLetters:
    """The dead letters of a topic of another system that were replayed or discarded."""

    def __init__(self) -> None:
        self.entries: dict[str, TakenEntry] = {}
        """Who took them and when, by the keys of the notes."""
        self._places: dict[int, BitMap64] | None = {}
        """The offsets, by partition; None if they have to be put together again."""

    @property
    def places(self) -> dict[int, BitMap64]:
        """The offsets, by partition."""
        if self._places is None:
            self._places = united(self.entries.values())
        return self._places

    def add(self, key: str, entry: TakenEntry) -> None:
        """Add the letters of the note with a key."""
        self.entries[key] = entry
        for partition, offsets in entry.places.items() if self._places is not None else ():
            self.places[partition] = self.places.get(partition, BitMap64()) | offsets

    def forget(self, key: str) -> int:
        """Forget the note with a key, if there is one; return its weight."""
        entry = self.entries.pop(key, None)
        if entry is None:
            return 0
        self._places = None
        return entry.weight


def united(entries: Iterable[TakenEntry]) -> dict[int, BitMap64]:
    """Return the offsets of all entries, by partition."""
    found: dict[int, list[BitMap64]] = {}
    for entry in entries:
        for partition, offsets in entry.places.items():
            found.setdefault(partition, []).append(offsets)
    return {partition: BitMap64.union(*several) for partition, several in found.items()}


@dataclass(slots=True)
class Jobs:
    """All jobs on the topic, from its messages in their order."""

    by_id: dict[str, Job] = field(default_factory=dict)
    claim: Claim | None = None
    """The latest claim."""
    epoch: int = -1
    """Its offset."""
    end: int = 0
    """Offset behind the last message."""
    taken: dict[str, TakenLetters] = field(default_factory=dict)
    """The dead letters of other systems that were replayed or discarded, by their topics."""
    taken_bytes: int = 0
    """The size of the notes about these, in bytes."""
    is_full: bool = False
    """True if a note about these was left out, since there was no room."""
    done: dict[str, Done] = field(default_factory=dict)
    """The journal, by the keys of its entries, the oldest first."""
    done_bytes: int = 0
    """Its size, in bytes."""
    surplus: dict[str, None] = field(default_factory=dict)
    """The keys of entries for which there is no room: whoever carries out the jobs deletes them."""
    foreign: int = 0
    """Number of messages that nobody of the line wrote."""

    def add(self, offset: int, key: bytes | None, value: bytes | None) -> str | None:
        """Take in the message at an offset, once. Return the reason if it is left out: nobody of the line wrote it."""
        if offset < self.end:
            return None
        self.end = offset + 1
        if not value and key is not None and DELETED.fullmatch(key):
            self._forget(key.decode())
            return None
        try:
            self._take_in(offset, decode(key, value))
        except NotAJobMessage as error:
            self.foreign += 1
            return str(error)
        return None

    def _take_in(self, offset: int, message: Message) -> None:
        if isinstance(message, Claim):
            self.claim, self.epoch = message, offset
        elif isinstance(message, Taken):
            self._add_taken(message)
        elif isinstance(message, Done):
            self._note(message)
        elif isinstance(message, Start):
            self._begin(message)
        elif (job := self.by_id.get(message.job)) is None:
            raise NotAJobMessage(f"there is no replay job {message.job}")
        elif isinstance(message, Ask):
            if len(job.asks) >= MAX_ASKS:
                raise NotAJobMessage(f"the replay job {message.job} has had {MAX_ASKS} orders already")
            job.asks.append((offset, message))
        elif message.epoch > offset:
            raise NotAJobMessage(f"no worker has claimed the replay jobs at the offset {message.epoch} so far")
        elif isinstance(message, Members):
            self._add_members(job, message)
        else:
            _note_progress(job, message)

    def _note(self, done: Done) -> None:
        """Add an entry to the journal. The oldest ones make room."""
        self._forget(key_of(done))
        self.done[key_of(done)] = done
        self.done_bytes += size_of(done)
        while len(self.done) > MAX_DONE or self.done_bytes > JOURNAL_BYTES:
            key = next(iter(self.done))
            self._forget(key)
            self._add_surplus(key)

    def _add_surplus(self, key: str) -> None:
        if len(self.surplus) < MAX_SURPLUS:
            self.surplus[key] = None

    def _forget(self, key: str) -> None:
        self.surplus.pop(key, None)
        if (done := self.done.pop(key, None)) is not None:
            self.done_bytes -= size_of(done)
        for taken in self.taken.values() if key.startswith(TAKEN) else ():
            self.taken_bytes -= taken.forget(key)

    def _add_taken(self, message: Taken) -> None:
        key, entry = key_of(message), TakenEntry.of(message)
        self._forget(key)
        if self.taken_bytes + entry.weight > TAKEN_BYTES:
            self.is_full = True
            raise NotAJobMessage("there is no room for more notes about letters of other systems")
        self.taken_bytes += entry.weight
        self.taken.setdefault(message.topic, TakenLetters()).add(key, entry)

    def folds(self, before: float) -> Iterator[tuple[Taken, list[str]]]:
        """Yield notes that stand for several each, and the keys of the others that they stand for.

        They are those of jobs that have ended, and of replays without a job whose last note is older than a time:
        nobody asks any more where their letters went.
        """
        for topic, taken in self.taken.items():
            together: dict[str, list[TakenEntry]] = {}
            for entry in taken.entries.values():
                together.setdefault(entry.job or entry.order, []).append(entry)
            for entries in together.values():
                if len(entries) > 1 and self._is_over(entries, before):
                    yield _folded(topic, entries)

    def _is_over(self, entries: Sequence[TakenEntry], before: float) -> bool:
        if entries[0].job is None:
            return max(entry.at for entry in entries) < before
        job = self.by_id.get(entries[0].job)
        return job is None or job.is_closed

    def past(self, topic: str, begins: Mapping[int, int]) -> list[str]:
        """Return the keys of notes about letters that a topic does not hold any more, by the offsets it begins at."""
        taken = self.taken.get(topic) or TakenLetters()
        return [
            key
            for key, entry in taken.entries.items()
            if entry.is_before(begins) and self._is_over([entry], float("inf"))
        ]

    def _begin(self, start: Start) -> None:
        """Add a job. While there are `MAX_JOBS`, the oldest one that is closed makes room."""
        if len(self.by_id) >= MAX_JOBS and start.job not in self.by_id:
            closed = next((job for job in self.by_id.values() if job.is_closed), None)
            if closed is None:
                raise NotAJobMessage(f"{MAX_JOBS} replay jobs are open already")
            del self.by_id[closed.id]
            for message in closed.messages():
                self._add_surplus(key_of(message))
        self.by_id.setdefault(start.job, Job(start))

    def _add_members(self, job: Job, message: Members) -> None:
        parts = job.members.setdefault(message.epoch, {})
        parts[message.part] = message
        if job.chosen is None and len(parts) >= message.parts and all(n in parts for n in range(message.parts)):
            job.chosen = message.epoch

    @property
    def open(self) -> list[Job]:
        """The jobs that a worker has not closed yet, the oldest first."""
        return [job for job in self.by_id.values() if not job.is_closed]

    def without_room(self) -> Iterator[Members]:
        """Yield the parts of letters of jobs that have ended, beyond `JOURNAL_BYTES`; those of the latest jobs stay."""
        size = 0
        for job in reversed(self.by_id.values()):
            for part in (job.letters or ()) if job.is_closed else ():
                size += size_of(part)
                if size > JOURNAL_BYTES and part.blocks:
                    yield part

    @property
    def is_outranked(self) -> bool:
        """True if there is progress that whoever made the latest claim cannot overwrite; no worker wrote it."""
        return any(
            (job.progress.epoch, job.progress.number) >= (self.epoch, MAX_NUMBER)
            for job in self.by_id.values()
            if job.progress is not None and (job.is_overtaken or not job.is_closed)
        )

    @property
    def overtaken(self) -> list[Job]:
        """The jobs whose latest progress has to be written again."""
        return [job for job in self.by_id.values() if job.is_overtaken]


def _folded(topic: str, entries: Sequence[TakenEntry]) -> tuple[Taken, list[str]]:
    first = entries[0]
    places = {str(partition): encoded_offsets(offsets) for partition, offsets in united(entries).items()}
    whole = Taken(
        order=first.order,
        part=first.part,
        topic=topic,
        at=first.at,
        by=first.by,
        places=places,
        reason=first.reason,
        job=first.job,
    )
    return whole, [key_of(replace(whole, order=entry.order, part=entry.part)) for entry in entries[1:]]


def _note_progress(job: Job, message: Progress) -> None:
    """Keep the latest progress of a job, whatever comes late."""
    known = job.progress
    if known is None or message.place >= known.place:
        job.progress, job.is_overtaken = message, False
    else:
        job.is_overtaken = job.is_overtaken or message.epoch == known.epoch


def size_of(message: Members | Done) -> int:
    """Return about how many bytes a message takes in memory."""
    record = message.record if isinstance(message, Done) else None
    return 500 + len(record or "") + sum(len(block) + len(encoded) + 100 for block, _, encoded in message.blocks)
