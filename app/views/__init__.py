"""The worker's web pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faust import web

if TYPE_CHECKING:
    from app.factory import LineApp


def add_views(app: LineApp) -> None:
    """Adds our pages to the worker's web server."""
    app.page("/traffic/")(TrafficView)


class TrafficView(web.View):
    """What this worker sent to the bus, by address, and its clocks."""

    async def get(self, request: web.Request) -> web.Response:
        """JSON."""
        return self.json(self.app.bus.meter.as_json())  # type: ignore[attr-defined]
