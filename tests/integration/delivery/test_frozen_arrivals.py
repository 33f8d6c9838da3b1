"""Arrivals that were frozen for longer than their session do not revert what others settled meanwhile."""

from __future__ import annotations

import os
import signal

import pytest

from metroline.routing.outcome import Ending
from tests.support.depot import Depot, numbered


@pytest.mark.long
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)  # late entries are overruled by the line, not by a broker
async def test_what_was_settled_while_an_arrivals_worker_stood_still_stays_settled(depot: Depot) -> None:
    await depot.create_source()
    depot.start(role="on-ramp,router,service:weigh,service:crane,service:shelf", PACK_RECORDS="2")
    frozen = depot.start(role="arrivals")
    await depot.ready()
    await depot.push(numbered(range(0, 2_000, 2)))
    await depot.until(lambda: depot.more_than(20))

    os.kill(frozen.child.pid, signal.SIGSTOP)
    depot.workers.remove(frozen)
    try:
        await depot.push(numbered(range(2_000, 3_000, 2)))
        other = depot.start(role="arrivals")
        await depot.ready(other)
        await depot.settled(1_500)
    finally:
        os.kill(frozen.child.pid, signal.SIGCONT)
    try:
        # It ends if it had something to write when it was stopped; otherwise it joins again.
        await depot.until(lambda: frozen.child.exit_code is not None or frozen.get("/traffic/") is not None, 30)
        assert await depot.counts() == {Ending.DELIVERED: 1_500}
    finally:
        frozen.stop()
    assert frozen.child.exit_code == 0 or "taken for gone" in frozen.child.log.read_text()

    await depot.kill(other)
    depot.start(role="arrivals")
    await depot.push(numbered(range(3_000, 3_100, 2)))
    await depot.settled(1_550)
