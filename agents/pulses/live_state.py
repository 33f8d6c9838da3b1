"""The state of a line at a moment, as pages and programs read it. Every figure has an age, in seconds."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Trend(StrEnum):
    """The course of the number of records that wait at a place."""

    NOTHING = "nothing waits"
    STEADY = "steady"
    GROWING = "growing"
    DRAINING = "draining"


class Level(StrEnum):
    """The degrees of a verdict."""

    GOOD = "good"
    NOTICE = "notice"
    """Something to look at: records fail or wait."""
    BAD = "bad"
    """Something stands still, is lost, or is not known."""


class Kind(StrEnum):
    """The kinds of what a verdict finds. They change seldom, while its sentences change with their figures."""

    FINE = "all is well"
    UNKNOWN = "figures are missing or out of date"
    SILENT = "a worker fell silent"
    STANDING = "something stands still"
    SCHEDULE = "a schedule is late, or its run failed"
    LOST = "records are missing"
    PILING = "records pile up"
    FAILING = "records fail"
    DIFFERING = "workers differ"


class Verdict(Struct, frozen=True):
    """One sentence about whether all is well, the worst thing first."""

    level: Level
    text: str
    more: tuple[str, ...] = ()
    """Further sentences, worst first."""
    kind: Kind = Kind.FINE
    """The kind of the worst thing."""


class Freshness(Struct, frozen=True):
    """The age of figures that several workers count."""

    age: float | None
    """Age of the oldest one; None if there is none."""
    is_stale: bool


class WorkerState(Struct, frozen=True):
    """A worker that has sent pulses lately."""

    id: str
    url: str
    group: str
    parts: tuple[str, ...]
    strategy: str
    version: int
    code: str
    started: float
    """Seconds since the epoch, by the clock of the worker that answers."""
    age: float
    is_stale: bool
    """True once pulses are missing: its figures are those of its last one."""
    is_silent: bool
    """True once it counts as dead: its figures are left out of those of the line."""
    problems: tuple[str, ...]
    behind: float
    source_behind: float
    entered_per_second: float
    settled_per_second: float


class PlaceState(Struct, frozen=True):
    """The source, a router, a stop or the arrivals."""

    waiting: int
    """Records that are not done, those in work included: messages, times the records that messages hold on average."""
    waiting_messages: int
    oldest: float | None
    """Age of the oldest message that was fetched and is not done; None if it is not known of all that wait."""
    trend: Trend
    chained_share: float
    """Share of the records that come in memory, as through trains, and not by the bus; 0 if none come."""
    caught_up_in: float | None
    """Seconds until nothing waits, if what waits goes on draining; None if it does not drain."""
    since: float | None
    """Time since which the place has not caught up with what came, in seconds since the epoch; None if it has."""
    arriving_per_second: float
    handled_per_second: float
    call_seconds: float | None
    """Mean duration of a call of the service for a record, lately; None if there was none."""
    p50: float | None
    """Median of the time that records spent at the stop, waits included, of journeys that ended lately."""
    p99: float | None
    retries: int
    waits: int
    dropped: int
    dead: int
    workers: int
    """Workers that serve the place."""
    paused: str
    age: float
    is_stale: bool


class TrackState(Struct, frozen=True):
    """The way from one station to the next."""

    start: str
    end: str
    is_end: bool
    """True if the end is an ending, such as `delivered`, and not a stop."""
    records: int
    per_second: float


class FailureState(Struct, frozen=True):
    """Dead letters of one cause at one stop since the workers started."""

    stop: str
    cause: str
    count: int
    per_second: float


class RuleState(Struct, frozen=True):
    """The number of times that a rule held since the workers started."""

    rule: str
    count: int
    per_second: float


class Sums(Struct, frozen=True):
    """The account of all records: sent = delivered + dropped + dead + lost + under way.

    The outcomes are None as long as no worker has told of any.
    """

    sent: int | None
    """None if it is not known of all partitions."""
    delivered: int | None
    dropped: int | None
    dead: int | None
    lost: int | None
    """Messages of the source that were deleted before they were read."""
    under_way: int | None
    """Records that were sent and have no outcome; None if it is not known how many were sent."""
    unaccounted: int | None
    """Records that have no outcome and are nowhere under way: must be 0. None as long as no worker has told."""
    partitions: int
    """Partitions that are summed up."""
    why_unknown: str = ""
    scheduled: int = 0
    """Those of all these records that schedules let enter."""


class ScheduleState(Struct, frozen=True):
    """A schedule of the line. Times are in seconds since the epoch."""

    name: str
    last: float | None
    """The latest tick whose record entered; None if none did."""
    next: float | None
    """The tick that is due next; None if no worker follows the schedule."""
    result: str
    """The state of the record of the latest tick: `completed`, `dead` or `under way`; empty without a tick."""
    href: str
    """The address of the journey of that record; empty without a tick."""
    entered: int
    """Ticks whose records entered the line."""
    delivered: int
    dropped: int
    dead: int


class LiveEvent(Struct, frozen=True):
    """Something that changed."""

    at: float
    """Seconds since the epoch."""
    kind: str
    """`rules` (they took effect), `joined`, `left` or `silent`, and the kinds of the journal, as `published`."""
    text: str
    href: str = ""
    """The address of the page about it; empty if there is none."""


class Point(Struct, frozen=True):
    """The whole line in one second."""

    at: float
    entered_per_second: float
    delivered_per_second: float
    dropped_per_second: float
    dead_per_second: float
    waiting: int
    oldest: float


class LiveState(Struct, frozen=True):
    """The state of the line."""

    line: str
    at: float
    """Seconds since the epoch, by the clock of the worker that answers."""
    age: float | None
    """Age of the oldest figure that the sums of the line contain; None if there is none.

    While all workers are silent, the figures are those that they told last.
    """
    is_stale: bool
    settled: Freshness
    """The age of what the arrivals count when a journey ends: tracks, rules and failures."""
    verdict: Verdict
    version: int
    """The newest version of the rules table that a worker uses."""
    strategy: str
    """The strategies of the workers, with commas."""
    entered_per_second: float
    delivered_per_second: float
    dropped_per_second: float
    dead_per_second: float
    oldest: float
    p50: float | None
    """Median of the time from the source to the outcome, of journeys that ended lately."""
    p99: float | None
    sums: Sums
    schedules: tuple[ScheduleState, ...]
    workers: tuple[WorkerState, ...]
    places: dict[str, PlaceState]
    tracks: tuple[TrackState, ...]
    failures: tuple[FailureState, ...]
    rules: tuple[RuleState, ...]
    are_rules_complete: bool
    """False if a rule that is not listed may have held all the same: workers tell of those that held most."""
    counted_since: float | None
    """Time since which each worker counts, at the earliest, in seconds since the epoch; None without workers."""
    events: tuple[LiveEvent, ...]
    points: tuple[Point, ...]
    unserved: tuple[str, ...] = ()
    """Addresses of places to which records go and that no worker serves: records wait there."""
