"""Calls the service of a stop for several records at once, over all messages that the stop holds."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from math import ceil

from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.handling import outcome_of
from metroline.agents.delivery.pacing import Pacer
from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.stops.circuit_breaker import LOOK_SECONDS
from metroline.agents.stops.gate import Gate
from metroline.agents.stops.leaving import Depart, Leaving, Load
from metroline.agents.stops.service_run import ServiceRun
from metroline.routing.messages.envelope import Envelope

HELD_PER_PLACE = 2
"""Records that a stop holds for each one that it may handle at once, before it takes no more messages."""

MAX_HELD_BYTES = 4 * 1024 * 1024
"""Bytes of records at which a stop takes no more messages."""

SWEEP_SECONDS = 0.25
"""Time between two looks for records that wait although their time is up."""


class ConcurrentCalls:
    """Calls a service for up to `concurrency` records at once. Each leaves when it is finished.

    Records that finish at about the same time and come from one origin leave together. What the stop cannot take
    waits on the bus.
    """

    def __init__(
        self,
        bus: Bus,
        pacer: Pacer,
        stop: str,
        concurrency: int,
        depart: Depart,
        *,
        records_per_call: int = 1,
        gate: Gate | None = None,
    ) -> None:
        """`gate` says when calls may begin; None if they always may."""
        self.stop = stop
        self._gate = gate
        self._turn = asyncio.Lock()
        """Held by the one that waits until a call may begin: records then wait for one call, not for several."""
        self.concurrency = concurrency
        self._records_per_call = records_per_call
        self._clock = bus.work_time.clock
        self._pacer = pacer
        self._leaving = Leaving(bus, stop, depart, lambda: bool(self._waiting), self._leave_behind)
        self._waiting: deque[Load] = deque()
        """The loads with records that have not begun."""
        self._records = 0
        """Number of records that are at the stop."""
        self._bytes = 0.0
        self._workers: set[asyncio.Task[None] | None] = set()
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """True if the stop takes more messages. A paused stop takes only one, for a probe."""
        if self._gate is not None and self._gate.is_closed:
            return not self._records and self._gate.wait() <= 0
        most = HELD_PER_PLACE * self.concurrency * self._records_per_call
        return self._records < most and self._bytes < MAX_HELD_BYTES

    async def wait_for_room(self, unit: UnitOfWork, *, is_first: bool) -> bool:
        """Wait until the stop takes more messages; return False if time is up for the unit before.

        If the records are the first ones of the unit, its time begins only when there is room for them.
        """
        while not self.has_room:
            if unit.is_discarded or (unit.is_over(self._clock()) and (unit.time.is_draining or not is_first)):
                return False
            self._room.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._room.wait(), SWEEP_SECONDS)
        if is_first:
            unit.restart()
        return True

    def take(self, envelope: Envelope, unit: UnitOfWork, run: ServiceRun) -> None:
        """Begin with the records of a segment, or add them to those that wait."""
        size = run.answers.segment.size()
        unit.hold()
        self._records += len(run)
        self._bytes += size
        self._waiting.append(Load(envelope, unit, run, len(run), size / len(run)))
        calls = ceil(len(run) / self._records_per_call)
        for _ in range(min(calls, self.concurrency - len(self._workers))):
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        if self._sweep_timer is None:
            self._sweep_timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def cancel(self) -> None:
        """Cancel all calls, because the worker stops. Their messages are not acknowledged and come again."""
        for worker in self._workers:
            if worker is not None:
                worker.cancel()
        self._waiting.clear()

    async def _work(self) -> None:
        """Handle one record after the other until none waits."""
        while (load := await self._next_of_gate()) is not None:
            place = load.run.answers.taken
            load.run.answers.taken += 1
            try:
                await load.run.run_one(place)
            except Exception as error:  # noqa: BLE001 - a defect of Metroline: the record becomes a dead letter
                load.run.answers.ends[place] = outcome_of(error, self.stop)
            if self._gate is not None:
                self._gate.ended(load.envelope.origin, load.run.answers, place)
            self._leaving.add(load, (place,))
            await self._pacer.pause()
        self._workers.discard(asyncio.current_task())  # at once: whoever comes next needs to know

    async def _next_of_gate(self) -> Load | None:
        """Return the load whose next record may begin, once a call may begin; None if none waits any more."""
        if self._gate is None:
            return self._next()
        async with self._turn:
            while (load := self._next()) is not None:
                seconds = self._gate.wait()
                if seconds <= 0:
                    self._gate.begin()
                    return load
                await asyncio.sleep(min(seconds, LOOK_SECONDS))
        return None

    def _next(self) -> Load | None:
        """Return the load whose next record may begin, or None."""
        while self._waiting:
            load = self._waiting[0]
            if not load.waiting:
                self._waiting.popleft()
            elif load.unit.is_discarded or load.is_over(self._clock()):
                self._waiting.popleft()
                self._give_up(load)
            else:
                return load
        return None

    def _give_up(self, load: Load) -> None:
        """Send back the records that have not begun; drop them if their message comes again anyway."""
        if load.unit.is_discarded and load.waiting:
            self._leave_behind(load, len(load.waiting))
        elif load.waiting:
            self._leaving.add(load, load.waiting)

    def _sweep(self) -> None:
        """Give up what waits although its time is up, or the stop is paused, even if no call ends."""
        self._sweep_timer = None
        now, is_paused = self._clock(), self._gate is not None and self._gate.is_closed and self._gate.wait() > 0
        for load in [load for load in self._waiting if is_paused or load.unit.is_discarded or load.is_over(now)]:
            self._waiting.remove(load)
            self._give_up(load)
        if self._waiting:
            self._sweep_timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _leave_behind(self, load: Load, count: int) -> None:
        """Forget records that have left; release the unit of work once all records of a segment have."""
        self._records -= count
        self._bytes -= count * load.bytes_per_record
        load.records -= count
        if not load.records:
            load.unit.release()
        self._room.set()
