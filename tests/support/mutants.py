"""Good messages with defects: bytes that are lost, changed or duplicated, and JSON values of another type."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import orjson

JUNK = (b"", b"\x00", b"\xff\xfe", b"null", b"[]", b"{}", b'""', b"-1", b"1e999", b"\n", b'{"', b"[" * 2_000, b"9" * 99)
ODD: Sequence[Any] = (
    *(None, True, False, 0, -1, 1.5, 2**31, 2**53, 2**63, 2**64 - 1, 1e300, "", "x", "a/b", "-", "\u0000", "é" * 300),
    *([], [[]], [None], {}, {"": 0}, {"n": {"n": []}}, [0] * 300),
)


def mutated(random: random.Random, good: bytes) -> bytes:
    """Return the message with one to three changes; it may still be good."""
    changed = good
    for _ in range(random.choice((1, 1, 2, 3))):
        change = random.choice((_cut, _flipped, _doubled, _spliced, _revalued, _revalued, _revalued))
        changed = change(random, changed)
    return changed


def _cut(random: random.Random, message: bytes) -> bytes:
    start, end = sorted(random.choices(range(len(message) + 1), k=2))
    return message[:start] + message[end:] if random.random() < 0.5 else message[:start]


def _flipped(random: random.Random, message: bytes) -> bytes:
    if not message:
        return message
    place = random.randrange(len(message))
    return message[:place] + bytes([random.randrange(256)]) + message[place + 1 :]


def _doubled(random: random.Random, message: bytes) -> bytes:
    start, end = sorted(random.choices(range(len(message) + 1), k=2))
    return message[:end] + message[start:end] + message[end:]


def _spliced(random: random.Random, message: bytes) -> bytes:
    place = random.randrange(len(message) + 1)
    return message[:place] + random.choice(JUNK) + message[place:]


def _revalued(random: random.Random, message: bytes) -> bytes:
    """Replace one value of the first line's JSON, or remove or add a key."""
    head, *rest = message.split(b"\n")
    try:
        data = orjson.loads(head)
    except orjson.JSONDecodeError:
        return message
    places = list(_places(data))
    if not places:
        return orjson.dumps(random.choice(ODD))
    where, key = random.choice(places)
    if random.random() < 0.2:
        del where[key]
    else:
        where[key] = random.choice(ODD)
    return b"\n".join([orjson.dumps(data), *rest])


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Return every place of a value in the data, as its container and its key or index."""
    if isinstance(data, dict):
        here: list[tuple[Any, Any]] = [(data, key) for key in data]
    elif isinstance(data, list):
        here = [(data, place) for place in range(len(data))]
    else:
        return []
    return here + [place for container, key in here for place in _places(container[key])]
