"""Announcements of workers that are not there."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import orjson

from tests.support.forgeries.forgery import Forgery, dressed, garbage
from tests.support.mutants import ODD, mutated

URLS = (
    "http://127.0.0.1:1",
    "http://127.0.0.1:1/#",
    "http://127.0.0.1:1/admin?x=",
    "http://user:secret@127.0.0.1:1",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://127.0.0.1:99999",
    "",
    "http://[::1",
)


def announcement(random: Random, prefix: str) -> dict[str, Any]:
    """Return the announcement of a worker that plays everything under another role assignment."""
    number = random.randrange(10**9)
    return {
        "id": f"{prefix}@stranger/{number}",
        "group": f"{prefix}@stranger",
        "parts": ["arrivals", "on-ramp", "router", "service:weigh"],
        "stops": ["weigh"],
        "strategy": "signpost",
        "url": random.choice(URLS),
        "version": 1,
        "started": 1.0,
        "at": random.choice((time.time(), 1e18, time.time() + 200, time.time() + 1e6, 1e300, -1e18)),
        "gone": False,
        "behind": 0.0,  # whoever may write here can hold the line back, as security.md says
        "source_behind": 0.0,
        "ends": ["end"],
    }


def forged_announcement(random: Random, prefix: str) -> Forgery:
    """Return garbage, or the announcement of a stranger who claims a conflict of roles."""
    told = announcement(random, prefix)
    kind = random.randrange(4)
    if kind == 0:
        return dressed(random, garbage(random))
    if kind == 1:
        value = random.choice((*ODD, "nan", 10**18, 10**9))
        told[random.choice([name for name in told if name != "behind"])] = value
    value = orjson.dumps(told)
    return dressed(random, mutated(random, value) if kind == 2 and b'"behind"' in value else value)
