"""A thread that ends answers every call, so that nobody waits for it for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from metroline.agents.kafka.answering_thread import AnsweringThread, ThreadEnded


@pytest.fixture
async def thread() -> AsyncIterator[AnsweringThread]:
    thread = AnsweringThread()
    await thread.start()
    try:
        yield thread
    finally:
        await thread.stop()


async def double(number: int) -> int:
    return 2 * number


async def wait_forever() -> None:
    await asyncio.Event().wait()


async def refuse() -> None:
    raise OSError("not now")


async def test_a_call_has_the_result_or_the_error_of_its_function(thread: AnsweringThread) -> None:
    assert await thread.call_thread(double, 4) == 8
    with pytest.raises(OSError, match="not now"):
        await thread.call_thread(refuse)


async def test_a_call_that_is_open_when_the_thread_ends_fails(thread: AnsweringThread) -> None:
    call = asyncio.create_task(thread.call_thread(wait_forever))
    await thread.call_thread(double, 1)
    await thread.stop()
    with pytest.raises(ThreadEnded):
        await asyncio.wait_for(call, 10)


async def test_a_call_that_comes_after_the_end_fails(thread: AnsweringThread) -> None:
    await thread.stop()
    with pytest.raises(ThreadEnded):
        await asyncio.wait_for(thread.call_thread(double, 4), 10)


async def test_a_call_that_comes_while_a_crash_ends_the_thread_is_answered(thread: AnsweringThread) -> None:
    asyncio.run_coroutine_threadsafe(thread.crash(OSError("gone")), thread.thread_loop)

    async def call_until_the_end() -> None:
        while True:
            assert await thread.call_thread(double, 4) == 8

    with pytest.raises(ThreadEnded):
        await asyncio.wait_for(call_until_the_end(), 10)
