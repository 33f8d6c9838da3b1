"""The figures that the workers of a run report about themselves at `/traffic/`."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, convert

from metroline.routing.addresses import ARRIVALS
from metroline.routing.messages.itinerary import Decider

Clocks = tuple[float, float]
"""Seconds since the epoch, and CPU seconds of the process."""


class AddressTraffic(Struct, frozen=True):
    """Messages, records and bytes that a worker sent to one address."""

    messages: int
    records: int
    bytes: int


class WorkerReport(Struct, frozen=True):
    """One worker: its traffic by address, the records that it settled by ending, and its first and last clocks."""

    traffic: dict[str, AddressTraffic]
    settled: dict[str, int]
    first: Clocks | None
    last: Clocks | None

    @classmethod
    def of_json(cls, data: object) -> WorkerReport:
        """Read the answer of a worker, decoded; raise `msgspec.ValidationError` if it has another shape."""
        return convert(data, cls)

    @property
    def records_settled(self) -> int:
        return sum(self.settled.values())

    def on_the_bus(self) -> list[AddressTraffic]:
        """Return the traffic to stops, deciders and the arrivals, but not to other topics, such as the dead letters."""
        addresses = {ARRIVALS, *(decider.value for decider in Decider)}
        return [
            sent for address, sent in self.traffic.items() if address.startswith("service.") or address in addresses
        ]


def elapsed(workers: Sequence[WorkerReport]) -> float:
    """Return the seconds from the first record that any worker took to the last activity of any worker."""
    return max(worker.last[0] for worker in workers if worker.last) - min(
        worker.first[0] for worker in workers if worker.first
    )


def cpu_seconds(workers: Sequence[WorkerReport]) -> float:
    """Return the CPU seconds of all workers over that time."""
    return sum(worker.last[1] - worker.first[1] for worker in workers if worker.last and worker.first)
