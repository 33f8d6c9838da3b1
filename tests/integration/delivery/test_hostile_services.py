"""Services that misbehave in a real worker: each of their records ends, and every other one is delivered."""

from __future__ import annotations

from itertools import product

import orjson
import pytest

from metroline.routing.outcome import Ending
from tests.support.depot import Depot

SERVICES = """
import asyncio
import os
import sys
import threading
import time

from metroline import service


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


async def leave():
    sys.exit("bye")


def misbehave(record):
    match record.get("does"):
        case "raise":
            raise Unspeakable
        case "interrupt":
            raise KeyboardInterrupt
        case "close":
            raise GeneratorExit
        case "exit":
            sys.exit(3)
        case "spin":
            while True:
                pass
        case "sleep":
            time.sleep(600)
        case "task":
            asyncio.get_running_loop().create_task(leave())
        case "callback":
            asyncio.get_running_loop().call_later(0.01, sys.exit, "bye")
    return record


@service
def plain(record):
    return misbehave(record)


@service(concurrency=4)
async def concurrent(record):
    if record.get("does") == "cancel":
        asyncio.current_task().cancel()
        await asyncio.sleep(1)
    if record.get("does") == "swallow":
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                pass
    return misbehave(record)


@service(blocking=True)
def threaded(record):
    if record.get("does") in ("spin", "sleep"):
        threading.Event().wait()
    if record.get("does") in ("task", "callback"):
        return record
    return misbehave(record)


@service(ordered=True)
def ordered(record):
    return misbehave(record)
"""

STOPS = ("plain", "concurrent", "threaded", "ordered")

RULES = "\n".join(f'[[rules]]\nafter = "source"\nmatch = {{ stop = "{stop}" }}\nto = "{stop}"\n' for stop in STOPS)

DEADLY = ("raise", "interrupt", "close", "exit")
MORE = [
    ("plain", "spin"),
    ("concurrent", "sleep"),
    ("concurrent", "cancel"),
    ("concurrent", "swallow"),
    ("threaded", "sleep"),
]
GOOD = 50


@pytest.mark.parametrize(
    ("broker", "chaining"),
    [("embedded", "on"), pytest.param("kafka", "off", marks=pytest.mark.long)],
    indirect=["broker"],
)
async def test_each_of_their_records_ends_and_the_worker_goes_on(depot: Depot, chaining: str) -> None:
    depot.write(SERVICES, RULES)
    worker = depot.start("map_maker", CHAINING=chaining, SERVICE_TIMEOUT="1", SERVICE_ATTEMPTS="1")
    await depot.ready(worker)
    bad = [(stop, does) for stop in STOPS for does in DEADLY] + MORE
    deeds = [*bad, *product(STOPS, ["task", "callback"]), *[(stop, None) for stop in STOPS for _ in range(GOOD)]]
    await depot.push([orjson.dumps({"stop": stop, "does": does}) for stop, does in deeds])
    await depot.settled(len(deeds))

    assert await depot.counts() == {Ending.DEAD: len(bad), Ending.DELIVERED: len(deeds) - len(bad)}
    letters = await depot.letters()
    assert sorted((one["stop"], one["does"]) for one in (orjson.loads(line) for *_, line in letters)) == sorted(bad)
    assert {reason.partition(":")[0] for _, reason, _ in letters} == {"service_error", "timeout"}
    assert worker.child.exit_code is None, "it is the worker that was started"
