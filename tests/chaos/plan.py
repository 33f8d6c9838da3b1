"""The order of faults, drawn from a seed, so that a plan can be repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from random import Random
from typing import TypeVar

Card = TypeVar("Card")

CREWS = {
    "whole": ("all", "all", "all"),
    "apart": ("on-ramp", "router", "arrivals", "service:weigh", "service:crane,service:shelf"),
}
"""The roles of the workers of a line. Only whole workers take a record through all stops and settle it in memory."""


class Kind(StrEnum):
    """The kinds of faults."""

    KILL = "kill -9"
    """A worker ends at once, and another takes its place."""
    TERM = "SIGTERM"
    """A worker is asked to end, and another takes its place."""
    FREEZE = "freeze"
    """A worker is frozen for longer than its session, another takes over, the first wakes up, and one of both ends."""
    JOIN = "join"
    """Two more workers join, work and leave."""
    BROKER = "broker"
    """The broker stops and starts again; it keeps its data."""
    PUBLISH = "publish"
    """The other of two rules tables is published."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; times are in seconds."""

    kind: Kind
    role: str
    """The role that it strikes; empty for a fault that strikes all."""
    lasts: float
    """Time that the worker stays frozen beyond its session, the broker is down, or additional workers stay."""
    pause: float
    """Time until the next fault."""
    waits: bool
    """True if the pause begins only when the workers that it started are ready."""
    first: bool
    """True if, of two workers, the first one ends."""

    def __str__(self) -> str:
        return f"{self.kind} {self.role}".strip()


def plan(seed: int, count: int, roles: Sequence[str], *, broker: bool) -> list[Fault]:
    """Return `count` faults that strike workers with these roles, and the broker, too, if `broker` is true.

    Each kind occurs once before any occurs again, and each kind strikes every role before it strikes one again.
    """
    return list(islice(_faults(Random(seed), roles, broker), count))


def _faults(random: Random, of_crew: Sequence[str], broker: bool) -> Iterator[Fault]:
    roles = {kind: _dealt(random, of_crew) for kind in (Kind.KILL, Kind.TERM, Kind.FREEZE, Kind.JOIN)}
    for kind in _dealt(random, [kind for kind in Kind if broker or kind is not Kind.BROKER]):
        role = next(roles[kind]) if kind in roles else ""
        lasts, pause = random.uniform(0.5, 3.0), random.uniform(0.2, 4.0)
        yield Fault(kind, role, lasts, pause, waits=random.random() < 0.5, first=random.random() < 0.5)


def _dealt(random: Random, cards: Sequence[Card]) -> Iterator[Card]:
    """Yield all cards in random order, then all of them in another order, endlessly."""
    while True:
        yield from random.sample(cards, len(cards))
