"""The versions of the rules are asked for until the brokers answer, whatever a client does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

import orjson
import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.tables import published_versions
from metroline.agents.tables.forecast import Forecast
from metroline.agents.tables.line_table import LineGlobalTable
from metroline.agents.tables.publication import Publication
from metroline.agents.tables.published_versions import MAX_FORECASTS, PublishedVersions
from tests.support.bench import Bench

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


VERSIONS = range(1, 2 * MAX_FORECASTS + 1)


def publication(version: int) -> bytes:
    forecast = Forecast(9, 1, 0, {"delivered": 9}, {"price": 9})
    text = "# a forecast" if version % 2 else '# "forecast"'
    return orjson.dumps(Publication(text, version - 1, "a test", 1.0, "why", forecast).as_json())


class LongTopic(Topic):
    """A topic with twice as many versions as keep their forecasts."""

    async def _read_on(self) -> None:
        for version in VERSIONS:
            self._take(version, publication(version))
        self._next = VERSIONS[-1]


async def test_only_the_latest_versions_have_their_forecasts(bench: Bench) -> None:
    topic, table = LongTopic(), cast(LineGlobalTable, bench.rules)
    table.data.clear()
    for version in VERSIONS:
        await table.put(bench.bus, 0, str(version).encode(), orjson.loads(publication(version)))
    for version in VERSIONS:
        found = await topic.find(version)
        assert found == table.data[str(version).encode()]
        kept, whole = Publication.decode(found), Publication.decode(publication(version))
        assert kept == (whole if version > MAX_FORECASTS else replace(whole, forecast=None))
