"""The versions of the rules are asked for until the brokers answer, whatever a client does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import orjson
import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.tables import published_versions
from metroline.agents.tables.published_versions import PublishedVersions

FIRST = orjson.dumps({"rules": "", "replaces": 0, "by": "a test", "at": 0.0})


class Topic(PublishedVersions):
    """A topic of which each attempt to read does what it is told to, and the last one reads the first version."""

    def __init__(self, *attempts: Callable[[], Awaitable[None]]) -> None:
        super().__init__(cast(Cluster, None), "orders.rules")
        self._attempts = list(attempts)

    async def _read_on(self) -> None:
        if self._attempts:
            await self._attempts.pop(0)()
            return
        self._take(1, FIRST)
        self._next = 1


async def hangs() -> None:
    await asyncio.sleep(3600.0)


async def hangs_as_it_is_closed() -> None:
    try:
        await asyncio.sleep(3600.0)
    finally:
        await asyncio.sleep(3600.0)


async def fails() -> None:
    raise RuntimeError("the client was closed")


@pytest.mark.parametrize("attempt", [hangs, hangs_as_it_is_closed, fails])
async def test_an_attempt_that_fails_or_hangs_is_followed_by_another(
    attempt: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_versions, "READ_SECONDS", 0.01)
    monkeypatch.setattr(published_versions, "RETRY_SECONDS", 0.01)
    found = await asyncio.wait_for(Topic(attempt, attempt).find(1), 60)
    assert found is not None
    assert orjson.loads(found)["by"] == "a test"
