"""The records that leave a stop with concurrent calls: those that finish at about the same time leave together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.handling import outcome_of
from metroline.agents.delivery.unit_of_work import JointWork, UnitOfWork
from metroline.agents.stops.service_run import ServiceRun
from metroline.routing.journeys.departures import Departures
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin

GATHER_SECONDS = 0.005
"""Time for which a finished record of a busy stop waits for others to leave with it."""

Depart = Callable[[Departures, ServiceRun, Sequence[int]], None]
"""Adds finished records of a run, by their indexes, to departures."""


@dataclass(slots=True, eq=False)
class Load:
    """The records of a segment at the stop. Their unit of work is held until all of them have left."""

    envelope: Envelope
    unit: UnitOfWork
    run: ServiceRun
    records: int
    """Number of records that have not left."""
    bytes_per_record: float

    @property
    def waiting(self) -> range:
        """The indexes of the records that have not begun."""
        return range(self.run.answers.taken, len(self.run))

    def is_over(self, now: float) -> bool:
        """Return whether the records that have not begun go back; unless the worker drains, the first one never does.

        A stop that is slower than the time for a unit would otherwise write all that it holds again and again.
        """
        return (self.run.answers.taken > 0 or self.unit.time.is_draining) and self.unit.is_over(now)


class Leaving:
    """Sends on the records that are finished. Packs leave one after the other, and so in order."""

    def __init__(
        self,
        bus: Bus,
        stop: str,
        depart: Depart,
        is_busy: Callable[[], bool],
        left: Callable[[Load, int], None],
    ) -> None:
        """`is_busy` returns whether more will finish in a moment. `left` is called with the number that have left."""
        self.bus = bus
        self.stop = stop
        self._depart = depart
        self._is_busy = is_busy
        self._left = left
        self._finished: list[tuple[Load, Sequence[int]]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, load: Load, places: Sequence[int]) -> None:
        """Let records leave, by their indexes. Those that have not begun go back to the stop."""
        self._finished.append((load, places))
        if self._task is None:
            self._task = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        try:
            while self._finished:
                if self._is_busy():
                    await asyncio.sleep(GATHER_SECONDS)
                finished, self._finished = self._finished, []
                groups: dict[tuple[str, Origin], dict[Load, list[int]]] = {}
                for load, places in finished:
                    group = groups.setdefault((load.envelope.strategy, load.envelope.origin), {})
                    group.setdefault(load, []).extend(places)
                for group in groups.values():
                    await self._send_on(group)
        finally:
            self._task = None

    async def _send_on(self, group: Mapping[Load, list[int]]) -> None:
        """Send on finished records with one origin and strategy."""
        unit = JointWork(list(dict.fromkeys(load.unit for load in group)))
        try:
            await self.bus.dispatch(self._departures(group), unit)
        except Exception as error:  # noqa: BLE001 - a defect of Metroline: the unit logs it, and its messages come again
            unit.fail(error)
        else:
            unit.release()
        for load, places in group.items():
            self._left(load, len(places))

    def _departures(self, group: Mapping[Load, list[int]]) -> Departures:
        """Return what leaves."""
        envelope = next(iter(group)).envelope
        departures = self.bus.departures(envelope)
        try:
            for load, places in group.items():
                self._add(departures, load.run, sorted(places))
        except Exception as error:  # noqa: BLE001 - a defect of Metroline: the records become dead letters
            outcome, departures = outcome_of(error, self.stop), self.bus.departures(envelope)
            for load, places in group.items():
                departures.end(load.run.answers.segment.part(sorted(places)), outcome)
        return departures

    def _add(self, departures: Departures, run: ServiceRun, places: Sequence[int]) -> None:
        begun = [place for place in places if place < run.answers.taken]
        if len(begun) < len(places):
            departures.send_back(run.answers.segment.part(places[len(begun) :]), self.stop)
        if begun:
            self._depart(departures, run, begun)
