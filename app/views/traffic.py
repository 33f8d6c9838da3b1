"""The traffic of this worker, for programs: what it sent to the bus and handed on in memory."""

from __future__ import annotations

from faust import web
from msgspec import Struct, to_builtins

from metroline.agents.delivery.metrics import Chained, Traffic
from metroline.agents.gateways.sqs.receiver import SqsReceiver
from metroline.app.views.operation import Operation
from metroline.app.views.view import LineView


class QueueTraffic(Struct, frozen=True):
    """The messages that this worker received from SQS, and the calls that it made."""

    messages: int
    bytes: int
    calls: dict[str, int]
    billed_calls: int
    """One for each chunk of 64 KiB that a call carries, at least one a call."""
    failed_calls: dict[str, int]
    repeated: int
    """Messages that were received again although the bus had them."""
    in_hand: int
    problem: str | None
    """The reason for which the last call failed; None if it succeeded."""

    @classmethod
    def of(cls, receiver: SqsReceiver) -> QueueTraffic:
        """Return the figures of a receiver."""
        counts = receiver.client.counts
        return cls(
            counts.messages,
            counts.bytes,
            dict(counts.calls),
            counts.chunks,
            dict(counts.failures),
            receiver.repeated,
            receiver.in_hand,
            receiver.problem,
        )


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
        receiver = worker.gateway.receiver if worker.gateway is not None else None
        queue = None if receiver is None else to_builtins(QueueTraffic.of(receiver))
        return self.json(worker.bus.metrics.as_json() | waiting | {"queue": queue})
