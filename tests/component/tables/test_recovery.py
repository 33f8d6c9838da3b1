"""The recovery of tables waits for brokers that do not answer, and for nothing once the group rebalances again."""

from __future__ import annotations

import asyncio

import faust
import pytest
from faust.tables.recovery import RebalanceAgain

from metroline.agents.tables.line_table import LineTableManager

FAUSTS_PATIENCE = 0.02


@pytest.fixture
async def tables() -> LineTableManager:
    app = faust.App("test", loop=asyncio.get_running_loop(), store="memory://")
    return LineTableManager(app)


async def test_it_waits_for_longer_than_faust_would_whose_recovery_then_ends_for_good(tables: LineTableManager) -> None:
    answer = asyncio.Event()
    asyncio.get_running_loop().call_later(5 * FAUSTS_PATIENCE, answer.set)
    await tables.recovery._wait(answer.wait(), timeout=FAUSTS_PATIENCE)
    assert answer.is_set()


def test_its_steps_are_logged_as_those_of_faust_which_the_log_leaves_out(tables: LineTableManager) -> None:
    assert tables.recovery.log.logger.name == "faust.tables.recovery"


async def test_it_does_not_wait_for_an_answer_that_another_rebalance_makes_useless(tables: LineTableManager) -> None:
    asyncio.get_running_loop().call_later(FAUSTS_PATIENCE, tables.recovery.signal_recovery_start.set)
    with pytest.raises(RebalanceAgain):
        await tables.recovery._wait(asyncio.Event().wait(), timeout=FAUSTS_PATIENCE)
