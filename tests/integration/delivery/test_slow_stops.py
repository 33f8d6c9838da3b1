"""A slow stop only slows its own input, fills no memory, and delays neither a rebalance nor a shutdown."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import orjson
import psutil
import pytest

from metroline.app.local.embedded_broker import EmbeddedBroker
from metroline.routing.outcome import Ending
from tests.support.brokers import Broker
from tests.support.depot import Depot, numbered

SERVICES = """
import asyncio
from pathlib import Path

from metroline import service

GATE = Path(__file__).parent / "gate"


@service(timeout=600)
async def slow(record):
    while not GATE.exists():
        await asyncio.sleep(0.02)
    return record


@service
def fast(record):
    return record
"""

RULES = """
[[rules]]
after = "source"
match = { slow = true }
to = "slow"

[[rules]]
after = "source"
to = "fast"
"""

SIZE = 20_000


def records(count: int, slow: bool) -> list[bytes]:
    return [orjson.dumps({"n": n, "slow": slow, "text": "x" * SIZE}) for n in range(count)]


@pytest.mark.long
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_a_stop_that_does_not_move_leaves_the_others_at_their_pace_and_memory_bounded(depot: Depot) -> None:
    depot.write(SERVICES, RULES)
    await depot.create_source()
    worker = depot.start("signpost", CHAINING="on")  # the records that it holds are then open at the source as well
    await depot.ready(worker)
    await depot.push(records(200, slow=False))
    await depot.settled(200)
    process = psutil.Process(worker.child.pid)
    before = process.memory_info().rss

    await depot.push(records(4_000, slow=True))
    await depot.push(records(1_000, slow=False))
    await depot.settled(1_200)
    grown = process.memory_info().rss - before
    assert grown < 50 * 1024 * 1024, f"{grown >> 20} MB more for 80 MB that wait"

    depot.open_gate()
    await depot.settled(5_200)
    assert await depot.counts() == {Ending.DELIVERED: 5_200}


@pytest.mark.long
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)  # the chaos tests stop workers on both
async def test_a_worker_that_is_asked_to_stop_ends_soon_and_its_successor_repeats_nothing(depot: Depot) -> None:
    """A record takes a tenth of a second, so there are always packs under way."""
    await depot.create_source()
    worker = depot.start("conductor")
    await depot.ready(worker)
    await depot.push(numbered(range(100), takes=0.1))
    await depot.until(lambda: depot.more_than(5))
    asked = time.monotonic()
    assert await depot.stop(worker) == 0
    assert time.monotonic() - asked < 30

    again = depot.start("conductor")
    await depot.ready(again)
    await depot.settled(100)
    assert await depot.duplicates() == 0


@pytest.mark.long
@pytest.mark.parametrize("chaining", ["on", "off"])
async def test_a_record_that_takes_minutes_holds_up_neither_a_stop_nor_a_rebalance(depot: Depot, chaining: str) -> None:
    depot.write(SERVICES, RULES)
    await depot.create_source()
    worker = depot.start("signpost", CHAINING=chaining)
    await depot.ready(worker)
    await depot.push(records(4, slow=True))
    await depot.push(records(20, slow=False))
    await depot.settled(20)

    other = depot.start("signpost", CHAINING=chaining)
    await depot.ready(other)
    await depot.push(records(20, slow=False))
    await depot.settled(40)
    assert await depot.stop(worker) == 0

    depot.open_gate()
    await depot.settled(44)
    assert await depot.counts() == {Ending.DELIVERED: 44}


@pytest.mark.long
async def test_a_worker_that_is_asked_to_stop_ends_soon_where_its_broker_does_not_answer(
    prefix: str, tmp_path: Path
) -> None:
    with EmbeddedBroker.start() as frozen:
        depot = Depot(Broker("embedded", frozen.bootstrap), prefix, tmp_path / "depot", tmp_path)
        try:
            await depot.create_source()
            worker = depot.start()
            await depot.ready(worker)
            os.kill(frozen.pid, signal.SIGSTOP)
            worker.child.terminate()
            await depot.until(lambda: worker.child.exit_code is not None, 20, watch=False)
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
            depot.end()
    assert "what is at hand comes again" in worker.child.last_words()
