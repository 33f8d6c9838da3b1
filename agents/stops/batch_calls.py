"""Calls the service of a stop for lists of records: those that are there, over all messages that the stop holds."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.handling import outcome_of
from metroline.agents.delivery.pacing import Pacer
from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.services.service import Service
from metroline.agents.stops.batch_run import run_batch
from metroline.agents.stops.circuit_breaker import LOOK_SECONDS
from metroline.agents.stops.concurrency import SWEEP_SECONDS, ConcurrentCalls
from metroline.agents.stops.gate import Gate
from metroline.agents.stops.leaving import Depart, Load
from metroline.agents.stops.service_run import ServiceRun
from metroline.routing.messages.envelope import Envelope

Batch = list[tuple[Load, range]]
"""The records of a call: loads, and the indexes of the records in each."""


class BatchCalls(ConcurrentCalls):
    """Calls a service that takes lists, up to `concurrency` times at once.

    While calls are under way, records gather for the next one, so batches grow with the load by themselves.
    """

    def __init__(self, bus: Bus, pacer: Pacer, service: Service, depart: Depart, gate: Gate | None = None) -> None:
        assert service.batching is not None
        size = service.batching.size
        super().__init__(bus, pacer, service.name, service.concurrency, depart, records_per_call=size, gate=gate)
        self._batching = service.batching
        self._time = bus.work_time
        self._arrived = asyncio.Event()

    def take(self, envelope: Envelope, unit: UnitOfWork, run: ServiceRun) -> None:
        """Begin with the records of a segment, or add them to those that wait."""
        super().take(envelope, unit, run)
        self._arrived.set()

    async def _work(self) -> None:
        """Handle one batch after the other until no record waits."""
        while batch := await self._gather():
            try:
                await run_batch([(load.run, place) for load, places in batch for place in places])
            except Exception as error:  # noqa: BLE001 - a defect of Metroline: the records become dead letters
                outcome = outcome_of(error, self.stop)
                for load, places in batch:
                    load.run.answers.ends |= dict.fromkeys(places, outcome)
            if self._gate is not None:
                self._gate.ended_together(
                    [(load.envelope.origin, load.run.answers, place) for load, places in batch for place in places]
                )
            for load, places in batch:
                self._leaving.add(load, places)
            await self._pacer.pause()
        self._workers.discard(asyncio.current_task())  # at once: whoever comes next needs to know

    async def _gather(self) -> Batch:
        """Return the records of the next call, once there are enough or none may wait longer; empty if none wait."""
        async with self._turn:
            clock = asyncio.get_running_loop().time
            until = clock() + self._batching.wait
            while (
                0 < self._count() < self._batching.size
                and self.has_room  # otherwise no more records come
                and not self._time.is_draining
                and clock() < until
            ):
                self._arrived.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._arrived.wait(), min(SWEEP_SECONDS, until - clock()))
            return await self._taken_by_gate()

    async def _taken_by_gate(self) -> Batch:
        """Return the records of the next call, once a call may begin; empty if none wait any more."""
        if self._gate is None:
            return self._taken(self._batching.size)
        while self._next() is not None:
            seconds = self._gate.wait()
            if seconds <= 0:
                batch = self._taken(1 if self._gate.is_closed else self._batching.size)
                self._gate.begin()
                return batch
            await asyncio.sleep(min(seconds, LOOK_SECONDS))
        return []

    def _count(self) -> int:
        """Return the number of records that have not begun."""
        return sum(len(load.waiting) for load in self._waiting)

    def _taken(self, room: int) -> Batch:
        """Return the waiting records for which a call has room; they begin now."""
        batch: Batch = []
        while room and (load := self._next()) is not None:
            places = load.waiting[:room]
            load.run.answers.taken = places.stop
            batch.append((load, places))
            room -= len(places)
        return batch
