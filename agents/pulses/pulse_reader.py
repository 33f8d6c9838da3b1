"""Reads the pulses of the line, while somebody looks at them: a worker whose pages nobody reads does not read them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from aiokafka import TopicPartition
from confluent_kafka import Message

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.consumer import KafkaConsumer
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.membership.signatures import Signatures
from metroline.agents.pulses.line_state import HISTORY_SECONDS, LineState
from metroline.agents.pulses.live_state import LiveState
from metroline.agents.pulses.pulse import NotAPulse, Pulse
from metroline.routing.errors import MetrolineError

IDLE_SECONDS = 60.0
"""Time without anybody who looks after which nothing is read any more."""

FIRST_SECONDS = 3.0
"""Time for which the first look waits for the pulses of the last minutes."""

AGAIN_SECONDS = 1.0
"""Time until the topic is read again after an error."""

MAX_OLD = 20_000
"""Number of old pulses that are read at first."""

WAIT_SECONDS = 0.25
"""Time that the brokers may wait for a pulse before they answer."""

CONFIG: dict[str, Any] = {"fetch.wait.max.ms": int(WAIT_SECONDS * 1000), "queued.max.messages.kbytes": 1_024}
"""Configuration of the consumer."""

log = logging.getLogger(__name__)


class PulseReader:
    """Keeps the state of the line up to date while it is asked for."""

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        group: str,
        line: str,
        signatures: Signatures,
        foreign: ForeignMessages,
        workers: Callable[[], int],
        needed: Callable[[], Collection[str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`group` is one that the worker may use; `workers` returns the number of live workers.

        `needed` returns the addresses to which records go by the present rules.
        """
        self._cluster = cluster
        self._topic = topic
        self._group = group
        self._line = line
        self._signatures = signatures
        self._foreign = foreign
        self._workers = workers
        self._needed = needed
        self._clock = clock
        self._state = LineState(line)
        self._asked_at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._caught_up = asyncio.Event()
        self._is_closed = False

    async def state(self) -> LiveState:
        """Return the present state of the line. The first look waits a little for what was told before."""
        self._asked_at = time.monotonic()
        if (self._task is None or self._task.done()) and not self._is_closed:
            self._caught_up.clear()
            self._state = LineState(self._line)
            self._task = asyncio.create_task(self._follow())
        if not self._caught_up.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_SECONDS):
                    await self._caught_up.wait()
        return self._state.snapshot(self._clock(), self._needed())

    async def close(self) -> None:
        """Stop reading."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @property
    def _is_wanted(self) -> bool:
        return time.monotonic() - self._asked_at < IDLE_SECONDS

    async def _follow(self) -> None:
        """Read pulses until nobody has asked for a while; begin again after an error."""
        while self._is_wanted:
            try:
                await self._read()
            except MetrolineError as error:
                log.info("the pulses of the line are read again: %s", error)
                self._caught_up.set()
                await asyncio.sleep(AGAIN_SECONDS)
            except Exception:  # whatever it is, the page shows figures as out of date and they are read again
                log.exception("the pulses of the line could not be read")
                self._caught_up.set()
                await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self) -> None:
        partition = TopicPartition(self._topic, 0)
        end = (await TopicAdmin(self._cluster).high_watermarks([partition]))[partition]
        first = max(0, end - min(MAX_OLD, HISTORY_SECONDS * max(1, self._workers())))
        reader = KafkaConsumer(self._cluster.librdkafka | CONFIG | {"group.id": self._group}, "pulses")
        try:
            await reader.assign({partition: first})
            reached, began = first, time.monotonic()
            while self._is_wanted:
                messages = (await reader.take(WAIT_SECONDS)).get(partition, [])
                for message in messages:
                    reached = (message.offset() or 0) + 1
                    self._observe(message, is_live=reached > end)
                    if reached % 100 == 0:
                        await asyncio.sleep(0)  # the turn of the records
                if reached >= end or time.monotonic() - began > FIRST_SECONDS:  # the old ones may be deleted by now
                    self._caught_up.set()
        finally:
            await reader.close()

    def _observe(self, message: Message, *, is_live: bool) -> None:
        try:
            pulse = Pulse.decode(message.value(), self._signatures)
        except NotAPulse as error:
            self._foreign.leave_out(self._topic, 0, message.offset() or 0, error)
        else:
            self._state.observe(pulse, self._clock(), is_live=is_live)
