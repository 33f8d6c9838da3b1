"""Jobs that replay or discard many dead letters: the messages on their topic, the state that follows, the next step.

The topic is the truth. People write orders, one worker at a time carries them out, and everyone who reads the topic
finds the same jobs. A worker that takes over writes a claim first, and its claim's offset is its epoch: what a former
worker writes late has a lower one, and is left out.

A job has no list of what it has sent. Its letters are known by their marks and generations, and the table `outcomes`
tells of each whether it is still dead, under way, dead again or has another outcome.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace
from pyroaring import BitMap, BitMap64

from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.replay import MAX_REASON_CHARACTERS

MAX_IDS = 10_000
"""Number of dead letters that a job can name by their ids."""

MAX_STEPS = 20
"""Number of steps of a ramp whose sizes can be given."""

MAX_JOBS = 1_000
"""Number of jobs that are kept."""

MAX_ASKS = 1_000
"""Number of orders to a job that are kept."""

MAX_DONE = 10_000
"""Number of entries of the journal that are kept: replays and discards without a job."""

JOURNAL_BYTES = 8 * 1024 * 1024
"""Size of the journal, and again of the letters of jobs that have ended, from which on the oldest make room."""

MAX_LETTERS = 1_000_000
"""Number of dead letters in one message."""

MAX_SURPLUS = 100_000
"""Number of entries without room that are remembered until a worker deletes them."""

MAX_SHOWN = 20
"""Number of reasons for which letters were left out, and of orders, that a job keeps."""

MAX_NUMBER = 2**53 - 1
"""Highest number of a message about progress."""

PARTITION = re.compile(r"[0-9]{1,9}")

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=MAX_REASON_CHARACTERS)]
Natural = Annotated[int, Meta(ge=0, lt=2**53)]
Moment = Annotated[float, Meta(ge=0, le=253_402_300_799)]
OrderId = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
"""An id of its own for each order: nobody overwrites what another has written."""

TopicName = Annotated[str, Meta(min_length=1, max_length=249)]

JobId = Annotated[str, Meta(pattern="^[0-9a-f]{10}$")]

Places = dict[str, str]
"""Offsets as Roaring bitmaps in base64, by the number of the partition."""


class NotAJobMessage(MetrolineError):
    """Raised when a message on the topic of replay jobs is none that a command or a worker of the line writes."""


class JobState(StrEnum):
    """The state of a job."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    """More letters were dead again than the job allows. It may be resumed."""
    DONE = "done"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True if the job can never go on."""
        return self in (JobState.DONE, JobState.CANCELLED)


class Wish(StrEnum):
    """The orders that people can give to a job that was started."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


class Tally(Struct, frozen=True):
    """The state of a job's letters."""

    total: Natural = 0
    replayed: Natural = 0
    """Letters that are on their way again, or have been: the sum of the three below."""
    ended: Natural = 0
    """Those that were delivered or, on purpose, dropped."""
    dead_again: Natural = 0
    under_way: Natural = 0
    left_out: Natural = 0
    """Letters that stay dead, since they cannot be replayed."""

    @property
    def remaining(self) -> int:
        """The number of letters that are still to be replayed."""
        return max(0, self.total - self.replayed - self.left_out)


class Start(Struct, frozen=True, tag_field="kind", tag="start", kw_only=True):
    """The order to begin a job: its letters, what to change, and how fast to go."""

    job: JobId
    at: Moment
    by: Name
    reason: Text = ""
    group: Name | None = None
    ids: Annotated[tuple[Name, ...], Meta(max_length=MAX_IDS)] = ()
    to: Name | None = None
    """The stop to go to; None for the source."""
    fields: dict[str, Any] = {}
    """Fields to set first, by their paths."""
    ramp: Annotated[tuple[Annotated[int, Meta(ge=1, lt=2**53)], ...], Meta(min_length=1, max_length=MAX_STEPS)] = (
        1,
        10,
        100,
        1_000,
    )
    """The number of letters in each step. Those that are left go in steps of the last size."""
    rate: Annotated[float, Meta(ge=0.1, le=1_000_000)] = 100.0
    """Letters per second."""
    stop_at: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """The share of the replayed letters that may be dead again. With more, the job stops."""
    patience: Annotated[float, Meta(ge=0, le=86_400)] = 300.0
    """Time, in seconds, for which a step waits for outcomes while none comes."""


class StartDiscard(Start, frozen=True, tag_field="kind", tag="start-discard", kw_only=True):
    """The order to begin a job that discards its letters, for its reason. Older versions leave it out."""


class StartForeign(Start, frozen=True, tag_field="kind", tag="start-foreign", kw_only=True):
    """The order to begin a job that replays dead letters of another system, from a topic that the line reads."""

    topic: TopicName
    patience: Annotated[float, Meta(ge=0, le=86_400)] = 30.0
    """Time, in seconds, for which a step waits for letters that come back: nobody announces the others."""


class Ask(Struct, frozen=True, tag_field="kind", tag="ask", kw_only=True):
    """An order to a job that was started."""

    order: OrderId
    job: JobId
    wish: Wish
    at: Moment
    by: Name
    reason: Text = ""


class Claim(Struct, frozen=True, tag_field="kind", tag="claim", kw_only=True):
    """The announcement of a worker that it carries out the jobs from now on; the offset is its epoch."""

    owner: Name
    worker: Text
    at: Moment


class Members(Struct, frozen=True, tag_field="kind", tag="members", kw_only=True):
    """A part of the letters of a job, as marks in blocks of offsets."""

    job: JobId
    epoch: Natural
    part: Natural
    parts: Annotated[int, Meta(ge=1, le=1_000_000)]
    blocks: tuple[tuple[str, Natural, str], ...]
    """Key of the block, generation, and the marks as a Roaring bitmap in base64."""
    left_out: dict[str, Natural] = {}
    """Letters that are in another job, by the reason."""


class Progress(Struct, frozen=True, tag_field="kind", tag="progress", kw_only=True):
    """The progress of a job, written by the worker that carries it out."""

    job: JobId
    epoch: Natural
    seen: Natural
    """Offset behind the last message that the worker had read: later orders are not taken into account here."""
    at: Moment
    state: JobState
    tally: Tally = Tally()
    left_out: dict[str, Natural] = {}
    base: tuple[Natural, Natural] = (0, 0)
    """The replayed letters, and those dead again, when the job was resumed after it had stopped: they count no more."""
    note: Text = ""
    """The reason why the job stopped, or why it does not go on at present."""
    number: Natural = 0
    """Number among all progress that is written in an epoch: a client may deliver what it sent long before."""

    @property
    def place(self) -> tuple[int, bool, int]:
        """The place in the order of what was written: of two, the higher one counts, and an end is the last."""
        return self.epoch, self.state.is_final, self.number


class Taken(Struct, frozen=True, tag_field="kind", tag="taken", kw_only=True):
    """Dead letters of another system that were replayed or discarded: their places on its topic."""

    order: OrderId
    """The id of the replay or discard."""
    part: Natural = 0
    """Number of the note among those of the replay or discard."""
    topic: TopicName
    at: Moment
    by: Name
    places: Places
    reason: Text | None = None
    """The reason why they were discarded; None if they were replayed."""
    job: JobId | None = None
    """The job that replayed them."""
    sent: dict[TopicName, Places] = {}
    """The places at which they stand since, by the topic, as far as they are known."""


class Act(StrEnum):
    """The acts on dead letters."""

    REPLAY = "replay"
    DISCARD = "discard"


class Done(Struct, frozen=True, tag_field="kind", tag="done", kw_only=True):
    """An entry of the journal: dead letters that somebody replayed or discarded without a job."""

    order: OrderId
    """The id of the replay or discard."""
    part: Natural = 0
    """Number of the entry among those of the replay or discard."""
    act: Act
    at: Moment
    by: Name
    reason: Text = ""
    to: Name | None = None
    """The stop to go to; None for the source."""
    is_edited: bool = False
    record: Annotated[str, Meta(max_length=16 * 1024)] | None = None
    """The record of a single letter as it was replayed, if it was edited, or its beginning."""
    count: Natural = 0
    """Number of the letters."""
    blocks: tuple[tuple[str, Natural, str], ...]
    """The letters, as in `Members`."""


Message = Start | StartDiscard | StartForeign | Ask | Claim | Members | Progress | Taken | Done

_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_ENCODER = msgspec.json.Encoder()


DONE = "done/"
"""The beginning of the keys of the journal's entries."""

TAKEN = "taken/"
"""The beginning of the keys of notes about dead letters of other systems."""

DELETED = re.compile(
    rb"(done|taken)/[0-9a-f]{32}(/[1-9][0-9]{0,8})?|[0-9a-f]{10}(/(ask|members|progress)/[0-9a-f/]{1,60})?"
)
"""The keys of messages that whoever carries out the jobs deletes, to make room."""


def encode(message: Message) -> tuple[bytes, bytes]:
    """Return the key and the value of a message. Compaction keeps the last message of each key."""
    return key_of(message).encode(), _ENCODER.encode(message)


def key_of(message: Message) -> str:
    """Return the key of a message as text."""
    if isinstance(message, Start):
        return message.job
    if isinstance(message, Ask):
        return f"{message.job}/ask/{message.order}"
    if isinstance(message, Claim):
        return "owner"
    if isinstance(message, Taken):
        return f"{TAKEN}{message.order}{_part(message)}"
    if isinstance(message, Done):
        return f"{DONE}{message.order}{_part(message)}"
    if isinstance(message, Members):
        return f"{message.job}/members/{message.epoch}/{message.part}"
    return f"{message.job}/progress/{message.epoch}"


def _part(message: Done | Taken) -> str:
    return f"/{message.part}" if message.part else ""


def decode(key: bytes | None, value: bytes | None) -> Message:
    """Return the message with this key and value; raise `NotAJobMessage`."""
    try:
        message = _DECODER.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAJobMessage(f"no message about a replay job: {error}") from error
    if isinstance(message, Start):
        _check_start(message)
    if isinstance(message, (Members, Done, Taken)):
        _check_bitmaps(message)
    if key is None or key != key_of(message).encode():
        raise NotAJobMessage("the key of the message is not that of what it says")
    return message


def _check_start(start: Start) -> None:
    if bool(start.ids) == bool(start.group):
        raise NotAJobMessage("a replay job names its letters either by their ids or by their group")
    if isinstance(start, (StartDiscard, StartForeign)) and (start.fields or start.to is not None):
        raise NotAJobMessage("letters to discard, and those of another system, are neither edited nor sent to a stop")
    if isinstance(start, StartDiscard) and not start.reason:
        raise NotAJobMessage("letters are discarded for a reason")


def _check_bitmaps(message: Members | Done | Taken) -> None:
    try:
        if isinstance(message, Taken):
            all_places = [message.places, *message.sent.values()]
            if not all(PARTITION.fullmatch(partition) for places in all_places for partition in places):
                raise NotAJobMessage("it names a partition that is no number")
            count = max(sum(len(offsets_in(encoded)) for encoded in places.values()) for places in all_places)
        else:
            count = sum(len(bitmap_in(encoded)) for _, _, encoded in message.blocks)
    except (ValueError, LookupError) as error:
        raise NotAJobMessage(f"the letters of a job cannot be read: {error}") from error
    if count > MAX_LETTERS:
        raise NotAJobMessage(f"it has more than {MAX_LETTERS} letters")


def offsets_in(encoded: str) -> BitMap64:
    """Return offsets from Roaring's portable format as base64; raise ValueError or LookupError if they are none."""
    return BitMap64.deserialize(base64.b64decode(encoded, validate=True))


def encoded_offsets(offsets: Iterable[int]) -> str:
    """Return offsets as `offsets_in` reads them."""
    bitmap = BitMap64(offsets)
    bitmap.run_optimize()
    return base64.b64encode(bitmap.serialize()).decode()


def bitmap_in(encoded: str) -> BitMap:
    """Return a bitmap in Roaring's portable format as base64; raise ValueError or LookupError if it is none."""
    return BitMap.deserialize(base64.b64decode(encoded, validate=True))


def after(state: JobState, wish: Wish) -> JobState:
    """Return the state in which an order leaves a job. An order that does not fit changes nothing."""
    if state.is_final:
        return state
    if wish is Wish.CANCEL:
        return JobState.CANCELLED
    if wish is Wish.RESUME:
        return JobState.RUNNING
    return JobState.PAUSED if state is JobState.RUNNING else state


@dataclass(slots=True)
class Job:
    """A job as the messages so far describe it."""

    start: Start
    asks: list[tuple[int, Ask]] = field(default_factory=list)
    """The orders with their offsets."""
    progress: Progress | None = None
    is_overtaken: bool = False
    """True if older progress with the key of `progress` came after it: compaction would keep the older one alone."""
    members: dict[int, dict[int, Members]] = field(default_factory=dict)
    """The parts of its letters, by the epoch in which they were found."""
    chosen: int | None = None
    """The epoch whose parts were complete first: they are the letters of the job."""

    @property
    def id(self) -> str:
        return self.start.job

    @property
    def act(self) -> Act:
        return Act.DISCARD if isinstance(self.start, StartDiscard) else Act.REPLAY

    @property
    def topic(self) -> str | None:
        """The topic of its letters if they are of another system."""
        return self.start.topic if isinstance(self.start, StartForeign) else None

    @property
    def state(self) -> JobState:
        """The state, with all orders."""
        state = self.progress.state if self.progress else JobState.RUNNING
        for ask in self.pending:
            state = after(state, ask.wish)
        return state

    @property
    def pending(self) -> list[Ask]:
        """The orders that the worker had not read when it last wrote its progress."""
        seen = self.progress.seen if self.progress else 0
        return [ask for offset, ask in self.asks if offset >= seen]

    @property
    def is_resumed(self) -> bool:
        """True if a job that had stopped by itself has been resumed, and no worker has taken note of it yet."""
        state = self.progress.state if self.progress else JobState.RUNNING
        for ask in self.pending:
            if state is JobState.STOPPED and ask.wish is Wish.RESUME:
                return True
            state = after(state, ask.wish)
        return False

    @property
    def is_closed(self) -> bool:
        """True if a worker has written that the job is done or cancelled."""
        return self.progress is not None and self.progress.state.is_final

    def messages(self) -> Iterator[Message]:
        """Yield the messages about the job, as far as they are kept."""
        yield self.start
        yield from (ask for _, ask in self.asks)
        for parts in self.members.values():
            yield from parts.values()
        if self.progress is not None:
            yield self.progress

    @property
    def letters(self) -> list[Members] | None:
        """The parts of its letters; None while no worker has found them."""
        return None if self.chosen is None else list(self.members[self.chosen].values())


def note_of(job: Job) -> str:
    """Return the reason why a job is in its state: that of the latest order, or what a worker found."""
    before = job.progress
    note = before.note if before is not None and before.state is job.state else ""
    for ask in job.pending:
        if ask.reason and ask.wish is not Wish.RESUME:
            note = ask.reason
    return note


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

    @classmethod
    def of(cls, taken: Taken) -> TakenEntry:
        places = {int(partition): offsets_in(encoded) for partition, encoded in taken.places.items()}
        sent = {
            (topic, int(partition)): offsets_in(encoded)
            for topic, partitions in taken.sent.items()
            for partition, encoded in partitions.items()
        }
        return cls(taken.order, taken.part, taken.at, taken.by, taken.reason, taken.job, places, sent)

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

    def add(self, taken: Taken) -> None:
        """Add the letters of a note."""
        entry = self.entries[key_of(taken)] = TakenEntry.of(taken)
        for partition, offsets in entry.places.items() if self._places is not None else ():
            self.places[partition] = self.places.get(partition, BitMap64()) | offsets

    def forget(self, key: str) -> None:
        """Forget the note with a key, if there is one."""
        if self.entries.pop(key, None) is not None:
            self._places = None


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
            self._forget(key_of(message))
            self.taken.setdefault(message.topic, TakenLetters()).add(message)
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
            taken.forget(key)

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


class Step(NamedTuple):
    """The next step of a running job: letters that may be sent now, and the state to change to."""

    allowed: int = 0
    state: JobState = JobState.RUNNING
    note: str = ""


def next_step(start: Start, tally: Tally, base: tuple[int, int], quiet: float) -> Step:
    """Return the next step of a running job.

    `tally` counts a letter that was sent as replayed. `base` are the counts from which the ramp and the share begin,
    and `quiet` is the time since anything was sent or found, in seconds.
    """
    replayed, dead = max(0, tally.replayed - base[0]), max(0, tally.dead_again - base[1])
    waits = tally.under_way > 0 and quiet < start.patience
    end, following = _steps(start.ramp, replayed)
    step = min(end, replayed + tally.remaining)
    if dead > start.stop_at * max(step, 1):
        return Step(0, JobState.STOPPED, f"{dead} of {replayed} replayed dead letters are dead again")
    if tally.remaining == 0:
        return Step() if waits else Step(0, JobState.DONE)
    if isinstance(start, StartDiscard):  # nothing is to be learnt from the first ones
        return Step(tally.remaining)
    if replayed < end:
        return Step(min(end - replayed, tally.remaining))
    return Step() if waits else Step(min(following, tally.remaining))


def _steps(ramp: Sequence[int], replayed: int) -> tuple[int, int]:
    """Return the number of letters at which the present step ends, and the size of the next step.

    Where a step has just ended, it is the present one: its outcomes are waited for.
    """
    end = 0
    for size in ramp:
        if replayed <= end:
            return end, size
        end += size
    last = ramp[-1]
    end += -(-max(0, replayed - end) // last) * last
    return end, last


def shown_reasons(reasons: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent reasons with their counts; the others together, as the last one."""
    ordered = sorted(reasons.items(), key=lambda one: (-one[1], one[0]))
    shown = {reason[:MAX_REASON_CHARACTERS]: count for reason, count in ordered[:MAX_SHOWN]}
    if rest := sum(count for _, count in ordered[MAX_SHOWN:]):
        shown["other reasons"] = shown.get("other reasons", 0) + rest
    return shown
