"""The traffic of this worker: what it sent to the bus and handed on in memory."""

from __future__ import annotations

from faust import web
from msgspec import Struct

from metroline.agents.delivery.metrics import Chained, Traffic, WorkerMetrics
from metroline.app.markup.html import Markup, grid, markup, number, tag
from metroline.app.markup.numbers import count
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
    """Messages, records and bytes by address, and how far this worker is behind, with its clocks."""

    api = (Operation("get", "Traffic of this worker, by address", WorkerTraffic),)

    async def get(self, request: web.Request) -> web.Response:
        worker = self.worker
        waiting = {
            "behind_bus": round(worker.work.behind, 2),
            "work_in_hand": worker.work.count,
            "retries": sum(handled.retries for handled in worker.bus.metrics.journeys.handling.values()),
            "held_back": round(worker.on_ramp.admission.held_back, 2) if worker.on_ramp is not None else 0.0,
        }
        metrics = worker.bus.metrics
        return self.answer(request, "Traffic", metrics.as_json() | waiting, lambda: _show(metrics, worker.work.behind))


def _show(metrics: WorkerMetrics, behind: float) -> Markup:
    """Return the traffic as tables, for a browser."""
    facts = {
        "records from the source": count(metrics.entered),
        "records with an outcome": count(sum(metrics.settled.values())),
        "behind": f"{behind:.2f} s",
    }
    bus = [
        [address, number(sent.messages), number(sent.records), number(sent.bytes)]
        for address, sent in sorted(metrics.traffic.items())
    ]
    memory = [[address, number(one.packs), number(one.records)] for address, one in sorted(metrics.chained.items())]
    nothing = tag("p", "Nothing yet.")
    return markup(
        [
            tag("p", "What this worker has sent since it started, by the address of who gets it."),
            tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()]),
            tag("h2", "Written to the bus"),
            grid(["Address", "Messages#", "Records#", "Bytes#"], bus) if bus else nothing,
            tag("h2", "Handed on in memory"),
            grid(["Address", "Packs#", "Records#"], memory) if memory else nothing,
        ]
    )
