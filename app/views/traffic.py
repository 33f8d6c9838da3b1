"""The traffic of this worker: what it sent to the bus and handed on in memory."""

from __future__ import annotations

from faust import web
from msgspec import Struct, to_builtins
from msgspec.structs import asdict

from metroline.agents.delivery.metrics import Chained, Traffic, WorkerMetrics
from metroline.agents.gateways.sqs.receiver import SqsReceiver
from metroline.app.markup.html import Markup, grid, markup, number, tag
from metroline.app.markup.numbers import count
from metroline.app.operations.measured_calls import QueueCalls
from metroline.app.views.operation import Operation
from metroline.app.views.view import LineView


class QueueTraffic(QueueCalls, frozen=True):
    """The messages that this worker received from SQS, and the calls that it made."""

    repeated: int
    """Messages that were received again although the bus had them."""
    in_hand: int
    problem: str | None
    """The reason for which the last call failed; None if it succeeded."""

    @classmethod
    def of(cls, receiver: SqsReceiver) -> QueueTraffic:
        """Return the figures of a receiver."""
        calls = asdict(QueueCalls.counted(receiver.client.counts))
        return cls(**calls, repeated=receiver.repeated, in_hand=receiver.in_hand, problem=receiver.problem)


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
    queue: QueueTraffic | None
    """None unless this worker receives from a queue."""
    ends: dict[str, QueueCalls]
    """The calls of the ends that are queues of SQS, by their names, as far as this worker sends to them."""


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
        receiver = worker.gateway.receiver if worker.gateway is not None else None
        queue = None if receiver is None else to_builtins(QueueTraffic.of(receiver))
        ends = {name: to_builtins(QueueCalls.counted(counts)) for name, counts in worker.calls_of_ends.items()}
        shown = metrics.as_json() | waiting | {"queue": queue, "ends": ends}
        return self.answer(request, "Traffic", shown, lambda: _show(metrics, worker.work.behind))


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
