"""Which faults strike, in which order: drawn by a seed, so that a plan can be had again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from random import Random
from typing import TypeVar

Card = TypeVar("Card")

ROLES = ("on-ramp", "router", "arrivals", "service:weigh", "service:crane,service:shelf")
"""The cut of the line: a worker each."""


class Kind(StrEnum):
    """What may happen to a line."""

    KILL = "kill -9"
    """A worker ends at once, and another takes its place."""
    TERM = "SIGTERM"
    """A worker is asked to end, and another takes its place."""
    FREEZE = "freeze"
    """A worker stands still for longer than its session, another takes over, it wakes up, and one of both ends."""
    JOIN = "join"
    """Two more workers join, work and leave."""
    BROKER = "broker"
    """The broker stops and starts again; it keeps its data."""
    PUBLISH = "publish"
    """The other one of two rules tables is published."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; times are in seconds."""

    kind: Kind
    role: str
    """Whom it strikes; empty where it strikes all."""
    lasts: float
    """How long what is frozen stays so beyond its session, the broker is away, or more workers stay."""
    pause: float
    """How long until the next one."""
    waits: bool
    """Whether the pause begins only when the workers that it started are ready."""
    first: bool
    """Of two workers, whether the first one ends."""

    def __str__(self) -> str:
        return f"{self.kind} {self.role}".strip()


def plan(seed: int, count: int, *, broker: bool) -> list[Fault]:
    """So many faults: each kind comes before any comes again, and each strikes every role before one again."""
    return list(islice(_faults(Random(seed), broker), count))


def _faults(random: Random, broker: bool) -> Iterator[Fault]:
    roles = {kind: _dealt(random, ROLES) for kind in (Kind.KILL, Kind.TERM, Kind.FREEZE, Kind.JOIN)}
    for kind in _dealt(random, [kind for kind in Kind if broker or kind is not Kind.BROKER]):
        role = next(roles[kind]) if kind in roles else ""
        lasts, pause = random.uniform(0.5, 3.0), random.uniform(0.2, 4.0)
        yield Fault(kind, role, lasts, pause, waits=random.random() < 0.5, first=random.random() < 0.5)


def _dealt(random: Random, cards: Sequence[Card]) -> Iterator[Card]:
    """All of them in some order, and again in another one, without end."""
    while True:
        yield from random.sample(cards, len(cards))
