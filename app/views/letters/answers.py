"""The answers of the pages about dead letters, as types: what `Letter.as_json` and `Group.as_json` return."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType


class GroupAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """A group of dead letters with one cause. Times are in seconds since the epoch."""

    group: str
    stop: str
    kind: str
    where: str
    count: int
    first: float
    last: float
    example: str
    reason: str


class VisitAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """A stop that a record visited."""

    stop: str
    at: float
    rule: str | None
    by: str
    version: int
    worked: float | None = None


class WaitsAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """Waits at a stop that its service asked for."""

    stop: str
    since: float
    times: int
    progress: str


class RetriedAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """Failed attempts at an earlier stop, which took the record in the end."""

    stop: str
    attempts: list[str]
    tried_at: list[float]


class ReplanAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """A plan that became stale: the stop that changed these fields."""

    stop: str
    fields: list[str]


class ReplayAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """An earlier replay."""

    at: float
    by: str
    reason: str
    before: str | None


class LetterAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """A dead letter. Times are in seconds since the epoch."""

    id: str
    group: str
    topic: str
    partition: int
    offset: int
    reason: str
    rule: str | None
    settled: float
    entered: float
    strategy: str
    generation: int
    bus_hops: int
    stops: list[VisitAnswer]
    attempts: list[str]
    tracebacks: list[list[str]]
    waits: WaitsAnswer | None
    waited: list[WaitsAnswer]
    tried_at: list[float]
    retried: list[RetriedAnswer]
    replans: list[ReplanAnswer]
    replays: list[ReplayAnswer]
    record: Any
    key: str | None
    headers: list[tuple[str, str | None]]


class ReplayedAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """The result of a replay: the number of dead letters or, for a dry run, the forecast for each id."""

    replayed: int | UnsetType = UNSET
    would_go: dict[str, str] | UnsetType = UNSET
    still_dead: dict[str, str] | UnsetType = UNSET
    topic: str | UnsetType = UNSET
    """The topic of the dead letters, if they are of another system."""


class DiscardedAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """The number of dead letters that were discarded."""

    discarded: int
