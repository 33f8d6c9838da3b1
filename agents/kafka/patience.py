"""Asks the brokers again when they did not answer, where a worker can do nothing without their answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaError

from metroline.agents.kafka.cluster import ClusterSilent

RETRY_SECONDS = 1.0
"""Time after which the brokers are asked again."""

T = TypeVar("T")

log = logging.getLogger(__name__)


async def answered(ask: Callable[[], Awaitable[T]], asker: str, is_wanted: Callable[[], bool] = lambda: True) -> T:
    """Return the answer to a question that is asked until a broker answers; raise what is no silence.

    A rebalance brings questions, and a broker that is replaced, or a process that stood still for a while, leaves them
    without an answer. `asker` begins the line that is logged. While `is_wanted` returns False, the silence is raised.
    """
    while True:
        try:
            return await ask()
        except (ClusterSilent, KafkaError) as error:
            is_silence = isinstance(error, ClusterSilent) or error.retriable
            if not is_silence or not is_wanted():
                raise
            reason = str(error) if isinstance(error, ClusterSilent) else f"{type(error).__name__}: {error}"
            log.warning("%s cannot go on yet, and asks again: %s", asker, reason)
        await asyncio.sleep(RETRY_SECONDS)
