"""Decides which packs go on in memory to their next address, instead of by the bus (chaining)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from metroline.agents.delivery.detours import Detours
from metroline.agents.delivery.handling import Handle
from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.routing.messages.envelope import Envelope


@dataclass(frozen=True, slots=True)
class _Station:
    """An address that this worker plays."""

    handle: Handle
    accepts: Callable[[int], bool]


class ThroughTrains:
    """The addresses of this worker to which packs may go on in memory."""

    def __init__(self) -> None:
        self.detours = Detours()
        self._stations: dict[str, _Station] = {}

    def call_at(self, address: str, handle: Handle, accepts: Callable[[int], bool] = lambda _: True) -> None:
        """Let packs go on to an address in memory. `handle` must not wait until there is room.

        `accepts` returns whether the address takes packs of a partition at present.
        """
        self._stations[address] = _Station(handle, accepts)

    def calls_at(self, address: str) -> bool:
        """Return whether packs may go on to an address in memory."""
        return address in self._stations

    def handler(self, address: str, envelope: Envelope, unit: UnitOfWork, max_bytes: int) -> Handle | None:
        """Return the handler to which an envelope goes on in memory; None if it goes by the bus.

        It goes by the bus if this worker does not play the address or read the partition, while older records wait
        there on the bus, while the address accepts none or the worker drains, and once time is up for the unit of
        work. A record of more than `max_bytes` bytes goes by the bus as well: it may be too large for a message, and
        its journey then ends here, as it does without chaining.
        """
        station = self._stations.get(address)
        if station is None or not self._is_open(address, station, envelope.partitions, unit):
            return None
        is_large = sum(segment.size() for segment in envelope.segments) > max_bytes
        return None if is_large else station.handle

    def are_open(self, address: str, partitions: Collection[int], unit: UnitOfWork) -> bool:
        """Return whether packs of all these partitions may go on to an address in memory."""
        station = self._stations.get(address)
        return station is not None and self._is_open(address, station, partitions, unit)

    def _is_open(self, address: str, station: _Station, partitions: Collection[int], unit: UnitOfWork) -> bool:
        if unit.time.is_draining or unit.is_over(unit.time.clock()):
            return False
        is_clear, accepts = self.detours.is_clear, station.accepts
        return all(is_clear((address, partition)) and accepts(partition) for partition in partitions)
