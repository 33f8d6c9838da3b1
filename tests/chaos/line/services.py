"""Services that fail: randomly, so that the next attempt may succeed, or always for some records."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from metroline import service

BAD_LUCK = 0.1


def stumble() -> None:
    """Raise `OSError` at random."""
    if random.random() < BAD_LUCK:
        raise OSError("bad luck")


@service(concurrency=4)
async def weigh(record: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0.01)
    stumble()
    record["heavy"] = record["n"] % 2 == 0
    return record


@service(blocking=True, concurrency=2)
def crane(record: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.005)
    stumble()
    record["lifted"] = True
    return record


@service(attempts=3)
def shelf(record: dict[str, Any]) -> dict[str, Any]:
    if record["n"] % 11 == 0:
        raise ValueError("it fits on no shelf")
    return record
