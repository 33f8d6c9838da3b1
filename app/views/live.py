"""The live figures of the line for programs, as JSON."""

from __future__ import annotations

import msgspec
from faust import web

from metroline.app.views.view import NOT_STORED, LineView


class LiveFiguresView(LineView):
    """The state of the whole line: rates, what waits and for how long, outcomes, workers, and what changed."""

    async def get(self, request: web.Request) -> web.Response:
        state = await self.worker.pulses.state()
        return self.bytes(msgspec.json.encode(state), content_type="application/json", headers=dict(NOT_STORED))
