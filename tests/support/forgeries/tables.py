"""Entries of changelogs that no worker wrote."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import orjson

from metroline.agents.tables.publication import Publication
from tests.support.forgeries.forgery import Forgery, dressed, garbage
from tests.support.mutants import ODD, mutated
from tests.support.table_entries import block, journey

HUGE: Sequence[Any] = (2**48, 2**53, 2**63, 2**64 - 1, 1e300, -1, "x", None, [])


def forged_block(random: Random, partition: int) -> Forgery:
    """Return an entry of the table `outcomes`; one with the key of a genuine block is none that could be read."""
    good: dict[str, Any] = block(5, 2, 1) | {"epoch": random.choice((0, 1, 3))}
    broken = good | {
        random.choice(list(good)): random.choice((*HUGE, *ODD, [[0, 10**18]], {"0": [1, "x"]}, [["a"] * 4]))
    }
    key = f"{partition}/source/0".encode()
    kind = random.randrange(5)
    if kind == 0:
        return dressed(random, garbage(random), key)
    if kind == 1:
        return dressed(random, orjson.dumps({"epoch": random.choice(HUGE)}), key)
    if kind == 2:
        return dressed(random, orjson.dumps(broken, default=str), f"{partition}/source/{random.choice(HUGE)}".encode())
    if kind == 3:
        return dressed(random, orjson.dumps(good), mutated(random, f"{partition}/source-7/3".encode()))
    return dressed(random, mutated(random, orjson.dumps(good)), f"{partition}/source-7/{random.randrange(9)}".encode())


def forged_journeys(random: Random, partition: int) -> Forgery:
    """Return an entry of the tables `journeys` and `dead_letters`."""
    number = random.choice((*range(60), *HUGE))
    good = {"number": number, "entries": [journey(), journey(1)], "epoch": random.choice((0, 1, *HUGE))}
    value = orjson.dumps(good)
    key = f"{partition}/{random.choice((*range(60), *HUGE))}".encode()
    kind = random.randrange(4)
    if kind == 0:
        return dressed(random, garbage(random), key)
    if kind == 1:
        return dressed(random, mutated(random, value), key)
    return dressed(random, value, key if kind == 2 else mutated(random, key))


def forged_publication(random: Random, partition: int) -> Forgery:
    """Return a message of the rules topic, or an entry of the table `rules`; its table is never one that is valid."""
    text = random.choice(("", "[[rules", "[[rules]]\nx = 1", "a = " + "[" * 900, "\x00", "[[rules]]\n" * 300))
    good = Publication(text, random.choice((0, 1, 2, 3)), "a stranger\x1b[2J", 1.0).as_json()
    odd = good | {random.choice(list(good)): random.choice((*ODD, *HUGE, "nan", "inf", "1e18"))}
    value = orjson.dumps(random.choice((good, odd)))
    key = str(random.choice((*range(5), *HUGE, "²", " 7", "1_0"))).encode()
    kind = random.randrange(4)
    if kind == 0:
        return dressed(random, garbage(random), key)
    return dressed(random, mutated(random, value) if kind == 1 else value, key)
