"""Health checks for orchestrators: a status, and each condition with the reason why it fails."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from faust import web

from metroline.app.readiness import conditions
from metroline.app.views.view import NOT_STORED, LineView

STANDS_STILL = "there are messages to read, and nobody reads them: {}"


class LiveView(LineView):
    """200 while this worker makes progress; 503 if it should be restarted. The answer itself shows that it runs."""

    async def get(self, request: web.Request) -> web.Response:
        stalled = self.worker.stall_watch.stalled
        reading = STANDS_STILL.format(", ".join(stalled)) if stalled else None
        return answer_health(self, {"reading": reading})


class ReadyView(LineView):
    """200 while this worker can take records and send them on; 503 with the conditions that fail."""

    async def get(self, request: web.Request) -> web.Response:
        return answer_health(self, conditions(self.worker))


def answer_health(view: LineView, found: Mapping[str, str | None]) -> web.Response:
    """Return each condition as `ok` or the reason why it fails; the status is 503 if one of them fails.

    Stops that are paused and resources that are broken are named, too. That is no failure of the worker: a restart
    would not help.
    """
    is_failing = any(found.values())
    body = {
        "status": "failing" if is_failing else "ok",
        "conditions": {name: reason or "ok" for name, reason in found.items()},
    }
    if paused := view.worker.paused_stops:
        body["paused"] = paused
    if broken := view.worker.broken_resources:
        body["broken"] = broken
    return view.bytes(
        orjson.dumps(body, option=orjson.OPT_INDENT_2),
        content_type="application/json",
        status=HTTPStatus.SERVICE_UNAVAILABLE if is_failing else HTTPStatus.OK,
        headers=dict(NOT_STORED),
    )
