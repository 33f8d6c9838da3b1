"""The traffic of this worker, for programs: what it sent to the bus and handed on in memory."""

from __future__ import annotations

from faust import web
from msgspec import Struct

from metroline.agents.delivery.metrics import Chained, Traffic
from metroline.app.views.operation import Operation
from metroline.app.views.view import LineView


class WorkerTraffic(Struct, frozen=True):
    """The traffic of a worker. Times are in seconds."""

    traffic: dict[str, Traffic]
    chained: dict[str, Chained]
    entered: int
    settled: dict[str, int]
    behind: float
    first: tuple[float, float] | None
    """Time of the first activity, since the epoch, and the CPU time of the process until then."""
    last: tuple[float, float] | None
    behind_bus: float
    work_in_hand: int
    retries: int
    held_back: float


class TrafficView(LineView):
    """Messages, records and bytes by address, and how far this worker is behind, with its clocks, as JSON."""

    api = (Operation("get", "Traffic of this worker, by address", WorkerTraffic),)

    async def get(self, request: web.Request) -> web.Response:
        worker = self.worker
        waiting = {
            "behind_bus": round(worker.work.behind, 2),
            "work_in_hand": worker.work.count,
            "retries": sum(handled.retries for handled in worker.bus.metrics.journeys.handling.values()),
            "held_back": round(worker.on_ramp.admission.held_back, 2) if worker.on_ramp is not None else 0.0,
        }
        return self.json(worker.bus.metrics.as_json() | waiting)
