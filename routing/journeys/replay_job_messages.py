"""Messages on the topic of replay jobs: the orders of people, and what the worker writes that carries them out."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import Meta, Struct
from pyroaring import BitMap, BitMap64

from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.replay import MAX_REASON_CHARACTERS

MAX_IDS = 10_000
"""Number of dead letters that a job can name by their ids."""

MAX_STEPS = 20
"""Number of steps of a ramp whose sizes can be given."""

MAX_LETTERS = 1_000_000
"""Number of dead letters in one message."""

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
    try:
        orjson.dumps(start.fields)
    except TypeError as error:  # a number of more than 64 bits, which no record may hold
        raise NotAJobMessage(f"the fields cannot be set: {error}") from error
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
