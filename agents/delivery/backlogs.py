"""Finds what waits on the bus when partitions are assigned to this worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping

from aiokafka.errors import KafkaError
from faust.types import TP

from metroline.agents.delivery.detours import Place
from metroline.agents.delivery.through_trains import ThroughTrains
from metroline.agents.kafka.topics import Topics
from metroline.routing.errors import MetrolineError

RETRY_SECONDS = 1.0
"""Time after which the brokers are asked again if they did not answer."""

RECOUNT_SECONDS = 5.0
"""Time between two looks for places of which the worker lost count."""

EndsOf = Callable[[Collection[TP]], Awaitable[Mapping[TP, int]]]
"""Returns the offset after the last message of each of these partitions."""

log = logging.getLogger(__name__)


class Backlogs:
    """Opens the places of this worker for packs that go on in memory, once it is known what waits there."""

    def __init__(self, trains: ThroughTrains, topics: Topics, ends_of: EndsOf) -> None:
        self._trains = trains
        self._topics = topics
        self._ends_of = ends_of
        self._task: asyncio.Task[None] | None = None

    def assigned(self, positions: Mapping[TP, int]) -> None:
        """Begin to find what waits in newly assigned partitions; `positions` are the offsets that are read next."""
        self.revoked()
        played = [tp for tp in positions if self._trains.calls_at(self._topics.address(tp.topic))]
        self._trains.detours.assign({self._place(tp): positions[tp] for tp in played})
        if played:
            self._task = asyncio.create_task(self._watch(played))

    def revoked(self) -> None:
        """Send everything by the bus until partitions are assigned again."""
        self._trains.detours.revoke()
        if self._task is not None:
            self._task.cancel()

    async def _watch(self, partitions: Collection[TP]) -> None:
        await self._find(partitions)
        while True:
            await asyncio.sleep(RECOUNT_SECONDS)
            lost = self._trains.detours.recount()
            if lost:
                await asyncio.sleep(RETRY_SECONDS)  # until what was sent before is written
                await self._find([TP(self._topics.at(address), partition) for address, partition in lost])

    async def _find(self, partitions: Collection[TP]) -> None:
        while True:
            try:
                ends = await self._ends_of(partitions)
                break
            except (MetrolineError, KafkaError) as error:
                log.debug("everything goes by the bus until the brokers tell what waits there: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
        self._trains.detours.found({self._place(tp): ends[tp] for tp in partitions})

    def _place(self, tp: TP) -> Place:
        return self._topics.address(tp.topic), tp.partition
