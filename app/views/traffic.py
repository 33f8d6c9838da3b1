"""What this worker sent to the bus."""

from __future__ import annotations

from faust import web

from metroline.app.views.view import LineView


class TrafficView(LineView):
    """What this worker sent to the bus, by address, and its clocks."""

    async def get(self, request: web.Request) -> web.Response:
        """JSON."""
        return self.json(self.worker.bus.metrics.as_json())
