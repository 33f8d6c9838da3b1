"""A service that is asked to stop takes no further turn."""

from __future__ import annotations

import asyncio

from mode import Service

from metroline.agents.kafka.regularly import regularly


async def test_each_turn_comes_after_a_pause() -> None:
    service = Service()
    turns = 0
    async for _ in regularly(service, 0.001):
        turns += 1
        if turns == 3:
            break
    assert turns == 3


async def test_a_service_that_is_asked_to_stop_wakes_up_at_once_and_takes_no_turn() -> None:
    service = Service()
    waiting = asyncio.create_task(anext(regularly(service, 3600.0), "no turn"))
    await asyncio.sleep(0)
    await service.stop()
    assert await asyncio.wait_for(waiting, 60) == "no turn"
