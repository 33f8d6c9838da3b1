"""Envelopes that no worker sent: for stops, routers, waiting rooms and the arrivals, and dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import orjson

from metroline.routing.journeys.dead_letter_messages import LETTER_HEADER
from metroline.routing.messages.envelope import FORMAT
from tests.support.forgeries.forgery import Forgery, dressed, garbage
from tests.support.mutants import mutated

ORIGINS = ("source-7", "source-7", "stray:arrivals", "lost:switch", "fuzz", "stray:" + "x" * 200, "a" * 5_000)
STRATEGIES = ("signpost", "conductor", "map_maker", "hard_wired", "", "none such")
HUGE = (2**31, 2**53 - 1, 2**53, 2**63 - 1, 2**64 - 1, 1e300, -1, -1.5)


def envelope(random: Random, partition: int, **changed: Any) -> bytes:
    """Return an envelope of two records that look like those of the line, with changes in its segment."""
    first = random.randrange(10_000)
    segment: dict[str, Any] = {
        "ids": [first, first + 1],
        "entered": time.time(),
        "hops": random.randrange(5),
        "history": [["weigh", 1.0, "all are weighed", "on-ramp", 1]],
        "chosen": ["heavy ones need the crane", "weigh", 1],
        "outcome": random.choice((None, ["delivered", None, "", None], ["dead", "unroutable", "no", None])),
        "tries": random.choice((None, ["crane", ["OSError: no"], time.time()])),
        "keys": ["a", ["/w=="]],
        "headers": [[[["type", "x"]], None], [0, 1]],
        "timestamps": [1_700_000_000_000],
    }
    lines = [b'{"n":2}', b'{"n":4}']
    if "lines" in changed:
        lines = changed.pop("lines")
    header = {
        "metroline": changed.pop("metroline", FORMAT),
        "strategy": random.choice(STRATEGIES[:3]),
        "origin": [changed.pop("origin", ORIGINS[0]), partition],
        "segments": [{name: value for name, value in (segment | changed).items() if value is not None}],
    }
    return b"\n".join([orjson.dumps(header), *lines])


def _many_blocks(random: Random, partition: int) -> bytes:
    ids = [number * 16_384 for number in random.sample(range(2**30), 3_000)]
    return envelope(random, partition, ids=ids, lines=[b"{}"] * len(ids), keys=None, headers=None, **DEAD)


def _many_losses(random: Random, partition: int) -> bytes:
    ids = [number * 2**24 for number in range(300)]
    request = ["lost", ids[0] + 2**24 - 1]
    lines = [b"{}"] * len(ids)
    return envelope(random, partition, ids=ids, lines=lines, keys=None, headers=None, request=request)


def _huge_message(random: Random, partition: int) -> bytes:
    ids = [[random.randrange(10_000), index, 2**32] for index in random.sample(range(2**32), 2)]
    return envelope(random, partition, ids=ids, **DEAD)


DEAD: dict[str, Any] = {"outcome": ["dead", "unroutable", "no", None], "tries": None}
DELIVERED: dict[str, Any] = {"outcome": ["delivered", None, "", None], "tries": None}

ATTACKS: Sequence[Callable[[Random, int], bytes]] = (
    _many_blocks,
    _many_losses,
    _huge_message,
    lambda random, partition: envelope(random, partition, hops=random.choice(HUGE), **DELIVERED),
    lambda random, partition: envelope(random, partition, hops=2**53 - 1, **DEAD),
    lambda random, partition: envelope(random, partition, entered=random.choice(HUGE), **DEAD),
    lambda random, partition: envelope(random, partition, history=[["x" * 100_000, 1.0, None, "", 1]], **DEAD),
    lambda random, partition: envelope(random, partition, history=[["weigh", 1e300, None, "", 1]], **DEAD),
    lambda random, partition: envelope(random, partition, outcome=["dropped", None, "r" * 100_000, None], tries=None),
    lambda random, partition: envelope(random, partition, tries=["crane", ["x"], random.choice(HUGE)]),
    lambda random, partition: envelope(random, partition, tries=["no such stop", ["x"], 0]),
    lambda random, partition: envelope(random, partition, tries=["nowhere", ["x"] * 1_000, 0]),
    lambda random, partition: envelope(
        random, partition, timestamps=[random.choice((2**62 - 1, -(2**61), -1))], **DEAD
    ),
    lambda random, partition: envelope(random, partition, timestamps=[2**62 - 1, 0, 2**62 - 1], **DELIVERED),
    lambda random, partition: envelope(random, partition, headers=[[[["a\x00b", "c\x00d"]]], []], **DELIVERED),
    lambda random, partition: envelope(random, partition, headers=[[[["", ["/w=="]]]], []], **DEAD),
    lambda random, partition: envelope(random, partition, keys=["\x00", "é" * 1_000], **DEAD),
    lambda random, partition: envelope(random, partition, generation=random.choice(HUGE), **DEAD),
    lambda random, partition: envelope(random, partition, request=["replay", "nowhere"], **DEAD),
    lambda random, partition: envelope(random, partition, request=["discard", "x" * 100_000], **DEAD),
    lambda random, partition: envelope(random, partition, origin=random.choice(ORIGINS), **DEAD),
    lambda random, partition: envelope(random, partition, metroline=random.choice((4, 99, 10**9, -1))),
    lambda random, partition: b'{"metroline":3,"segments":' + garbage_bytes(random),
    lambda random, partition: b'{"metroline":999,"segments":[]}',
    lambda random, partition: envelope(random, partition, itinerary={"version": 1, "by": "x", "legs": [["x" * 99]]}),
    lambda random, partition: envelope(
        random, partition, itinerary={"version": 2**53 - 1, "by": "x", "legs": [["nowhere", None, None, None]] * 900}
    ),
    lambda random, partition: envelope(random, partition, lines=[b"[" * 100_000, b"\xff"], **DELIVERED),
    lambda random, partition: envelope(random, partition, lines=[b"", b"null"], **DEAD),
    lambda random, partition: envelope(random, partition, history=None, outcome=None, tries=None),
    lambda random, partition: envelope(random, partition, worked=[random.choice(HUGE)], **DELIVERED),
    lambda random, partition: envelope(random, partition, tried=[random.choice(HUGE)] * 9, **DELIVERED),
    lambda random, partition: envelope(random, partition, retried=[["x", ["y" * 9_000], 1, [1.0] * 9]], **DELIVERED),
    lambda random, partition: envelope(random, partition, replans=[["weigh", ["x" * 9_000] * 9]], **DELIVERED),
)


def garbage_bytes(random: Random) -> bytes:
    return garbage(random) or b""


def forged_envelope(random: Random, partition: int) -> Forgery:
    """Return garbage, an envelope with defects, or an attack."""
    kind = random.randrange(4)
    if kind == 0:
        return dressed(random, garbage(random))
    if kind == 1:
        return dressed(random, mutated(random, envelope(random, partition)))
    value = random.choice(ATTACKS)(random, partition)
    return dressed(random, value if kind == 2 else mutated(random, value))


def forged_letter(random: Random, partition: int) -> Forgery:
    """Return a message for the dead letters, or for an end: their readers are the pages, the commands and others."""
    forged = forged_envelope(random, partition)
    if random.random() < 0.5 or forged.value is None:
        return forged
    head, _, line = forged.value.partition(b"\n")
    return Forgery(line, forged.key, (*forged.headers, (LETTER_HEADER, head), ("metroline-dead-at", b"9" * 30)))


def forged_kept(random: Random, partition: int) -> Forgery:
    """Return a message for the kept journeys, whose readers are the pages and the commands."""
    forged = forged_envelope(random, partition)
    if random.random() < 0.3 or forged.value is None:
        return forged
    head = orjson.dumps({"count": random.choice((*HUGE, 7)), "ended": [random.choice((*HUGE[4:], time.time()))]})
    return Forgery(head + b"\n" + forged.value, forged.key, forged.headers)
