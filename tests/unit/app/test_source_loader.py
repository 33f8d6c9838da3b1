"""A source that is loaded when the brokers go away: one error says how many records are written."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import RequestTimedOutError

from metroline.agents.kafka.cluster import Cluster
from metroline.app.inputs.source_loader import NotWritten, load


class GoesAway:
    """A producer whose brokers confirm the first messages, and none after them."""

    def __init__(self, confirmed: int) -> None:
        self.confirmed = confirmed

    async def send(self, topic: str, message: bytes, partition: int) -> asyncio.Future[Any]:
        answer = asyncio.get_running_loop().create_future()
        if self.confirmed:
            self.confirmed -= 1
            answer.set_result(SimpleNamespace(partition=partition, offset=0))
        else:
            answer.set_exception(RequestTimedOutError())
        return answer


@pytest.mark.parametrize(("pack", "written"), [(1, "3 records are written to orders, and 4 more"), (2, "6 records")])
async def test_the_records_that_are_written_are_counted(
    caplog: pytest.LogCaptureFixture, pack: int, written: str
) -> None:
    @asynccontextmanager
    async def producer(**settings: Any) -> AsyncIterator[GoesAway]:
        yield GoesAway(3)

    cluster = cast(Cluster, SimpleNamespace(producer=producer))
    caplog.set_level(logging.ERROR, "asyncio")
    with pytest.raises(NotWritten, match=rf"^the brokers did not take all records \(.*Timed.*\): {written}"):
        async for _ in load(cluster, "orders", iter([b"{}"] * 7), 1, pack=pack):
            pass
    gc.collect()
    assert not caplog.records, "no exception is left that asyncio would report"
