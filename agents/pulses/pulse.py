"""A worker's pulse: what it has counted since it started, and what waits for it now."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from msgspec import Meta, Struct, ValidationError, convert, to_builtins

from metroline.agents.membership.signatures import Signatures
from metroline.agents.membership.worker import ADDRESS
from metroline.routing.errors import MetrolineError

MAX_BYTES = 256 * 1024
"""Size of a pulse, in bytes. Anybody may write to the topic."""

MAX_SERIES = 300
"""Number of rules, tracks or outcomes in a pulse, the largest ones: one with 1,000 rules must not grow without end."""

MAX_OUTCOMES = MAX_SERIES + 10
"""Number of outcomes: the largest ones, and for each ending one with the sum of the others."""

MAX_PLACES, MAX_PROBLEMS, MAX_BUCKETS, MAX_PARTITIONS = 500, 50, 50, 2_000
"""Number of places and of parts, of problems, of the buckets of a histogram, and of partitions."""

MAX_TEXT = 300
"""Number of characters of a name or a reason."""

Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Buckets = Annotated[tuple[Count, ...], Meta(max_length=MAX_BUCKETS)]


class NotAPulse(MetrolineError):
    """Raised for a message that is not a pulse of a worker of this line."""


class PlaceFigures(Struct, frozen=True, omit_defaults=True):
    """One place of the line: the source, a router, a stop or the arrivals, as one worker knows it."""

    waiting: Count = 0
    """Messages in this worker's partitions that are not done, those in work included."""
    oldest: Seconds = 0.0
    """Age of the oldest of them that was fetched; 0 if none was."""
    since: Seconds = 0.0
    """Time since which the place has been behind, in seconds since the epoch by the worker's clock; 0 if it is not."""
    messages: Count = 0
    """Messages that this worker wrote to the place; for the source, that it took from there."""
    records: Count = 0
    """Records in these messages."""
    chained: Count = 0
    """Records that this worker handed to the place in memory."""
    handled: Count = 0
    """Records for which the service was called, each attempt counted."""
    seconds: Seconds = 0.0
    """Time that the calls took together."""
    retries: Count = 0
    waits: Count = 0
    paused: Text = ""
    """The reason why the stop is paused; empty if it is not."""
    times: Buckets = ()
    """Records by the time that they spent at the stop, in the buckets of `STOP_BOUNDS`."""


class PartitionSum(Struct, frozen=True, array_like=True):
    """The records of one partition of the source that entered the line."""

    partition: Count
    records: Count
    since: Count
    """The offset from which they are counted: 0 if all of them are."""


class EndedSum(Struct, frozen=True, array_like=True):
    """The records of one partition of the source that have an outcome."""

    partition: Count
    delivered: Count
    dropped: Count
    dead: Count
    lost: Count
    """Messages that were deleted before they were read."""


class ScheduleSum(Struct, frozen=True, array_like=True):
    """The records of one schedule, as the worker that follows it counts them. Times are in seconds since the epoch."""

    schedule: Text
    entered: Count
    """Ticks whose records entered the line."""
    delivered: Count
    dropped: Count
    dead: Count
    last: Seconds | None = None
    """The latest tick whose record entered; None if none did."""
    next: Seconds | None = None
    """The tick that is due next; None if nobody follows the schedule any more."""
    result: Text = ""
    """`completed` or `dead` if the record of the latest tick is so; empty if it is under way."""


class OutcomeSum(Struct, frozen=True, array_like=True):
    """Records that this worker settled."""

    ending: Text
    stop: Text
    """The last stop."""
    cause: Text
    """The cause of a dead letter; empty for others."""
    count: Count


class TrackSum(Struct, frozen=True, array_like=True):
    """Records that went from one station to the next, counted by the worker that settled them."""

    start: Text
    end: Text
    is_end: bool
    """True if the end is an ending, such as `delivered`, and not a stop."""
    count: Count


class RuleSum(Struct, frozen=True, array_like=True):
    """Decisions of a rule, counted by the worker that settled the records."""

    rule: Text
    count: Count


class Pulse(Struct, frozen=True, omit_defaults=True):
    """The message that a worker sends once a second. All counts grow from the start of its process."""

    worker: Text
    """The id of the worker in its announcements."""
    url: Text
    group: Text
    parts: Annotated[tuple[Text, ...], Meta(max_length=MAX_PLACES)]
    strategy: Text
    version: Count
    """Version of the rules table in use."""
    started: Seconds
    """Seconds since the epoch."""
    at: Seconds
    """Seconds since the epoch, by the worker's clock."""
    code: Text = ""
    """Identity of the line's code: workers with other code have another one."""
    is_last: bool = False
    """The worker stops."""
    problems: Annotated[tuple[Text, ...], Meta(max_length=MAX_PROBLEMS)] = ()
    """The conditions of readiness that fail, each with its reason."""
    behind: Seconds = 0.0
    """Seconds for which messages of the bus wait for this worker longer than usual."""
    source_behind: Seconds = 0.0
    """Seconds for which records of the source wait for this worker."""
    entered: Count = 0
    """Records taken from the source."""
    unaccounted: Count = 0
    """Records that entered, have no outcome, and are not under way."""
    durations: Buckets = ()
    """Records by the time from the source to the outcome, in the buckets of `JOURNEY_BOUNDS`."""
    places: Annotated[dict[Text, PlaceFigures], Meta(max_length=MAX_PLACES)] = {}
    """By address."""
    outcomes: Annotated[tuple[OutcomeSum, ...], Meta(max_length=MAX_OUTCOMES)] = ()
    tracks: Annotated[tuple[TrackSum, ...], Meta(max_length=MAX_SERIES)] = ()
    rules: Annotated[tuple[RuleSum, ...], Meta(max_length=MAX_SERIES)] = ()
    rules_held: Count = 0
    """Number of rules that held at all. If it is larger than that of `rules`, those that held least are left out."""
    sent: Annotated[tuple[PartitionSum, ...], Meta(max_length=MAX_PARTITIONS)] = ()
    ended: Annotated[tuple[EndedSum, ...], Meta(max_length=MAX_PARTITIONS)] = ()
    schedules: Annotated[tuple[ScheduleSum, ...], Meta(max_length=MAX_SERIES)] = ()

    def encode(self, signatures: Signatures) -> bytes:
        """Return the pulse as the value of a message."""
        builtins: dict[str, Any] = to_builtins(self)
        return orjson.dumps(signatures.signed(builtins))

    @classmethod
    def decode(cls, value: bytes | None, signatures: Signatures) -> Pulse:
        """Read the value of a message; raise `NotAPulse` if it is not one of this line."""
        if len(value or b"") > MAX_BYTES:
            raise NotAPulse(f"a pulse of {len(value or b'')} bytes")
        try:
            data = orjson.loads(value or b"")
            pulse = convert(data, cls)
        except (ValidationError, ValueError) as error:
            raise NotAPulse(f"not a pulse: {error}") from error
        if not ADDRESS.fullmatch(pulse.url):
            raise NotAPulse(f"{pulse.url!r:.100} is not the address of a web server, http://HOST:PORT")
        if not signatures.verify(data):
            raise NotAPulse(f"a pulse of {pulse.url} that is not signed with CLUSTER_KEY")
        return pulse


def as_text(given: str) -> str:
    """Return a name or a reason as a pulse may hold it: not too long, and without what UTF-8 cannot encode.

    Names of stops come with records too, so that they can be anything.
    """
    return given[:MAX_TEXT].encode(errors="replace").decode()
