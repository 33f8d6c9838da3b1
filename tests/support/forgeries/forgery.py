"""A message that a stranger writes, and the parts of which all of them are made."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.support.mutants import JUNK

Headers = list[tuple[str, str | bytes | None]]

TIMESTAMPS = (0, 0, 0, 0, 1, 2**40)
"""Milliseconds since the epoch; 0 stands for now. A broker refuses later ones, and all that came with them."""

NAMES = ("", "type", "metroline-id", "metroline-dead-letter", "é" * 40, "a b\n", "__connect.errors.topic", "x" * 2_000)


@dataclass(frozen=True, slots=True)
class Forgery:
    """A message for one partition of a topic."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int = 0


def garbage(random: Random) -> bytes | None:
    """Return bytes that are nothing: none, some, many, and the beginnings of JSON."""
    kind = random.randrange(8)
    if kind == 0:
        return None
    if kind == 1:
        return random.randbytes(random.randrange(64))
    if kind == 2:
        return random.randbytes(random.choice((1_000, 50_000)))
    return random.choice(JUNK) * random.choice((1, 1, 3))


def dressed(random: Random, value: bytes | None, key: bytes | None = None) -> Forgery:
    """Return a message with a value, and with odd keys, headers and times now and then."""
    if key is None and random.random() < 0.5:
        key = garbage(random)
    headers = [(random.choice(NAMES), garbage(random)) for _ in range(random.choice((0, 0, 1, 3)))]
    return Forgery(value, key, tuple(headers), random.choice(TIMESTAMPS))
