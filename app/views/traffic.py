"""The traffic of this worker, for programs: what it sent to the bus."""

from __future__ import annotations

from faust import web

from metroline.app.views.view import LineView


class TrafficView(LineView):
    """Messages, records and bytes by address, with the clocks of this worker, as JSON."""

    async def get(self, request: web.Request) -> web.Response:
        return self.json(self.worker.bus.metrics.as_json())
