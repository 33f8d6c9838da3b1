"""Health checks for orchestrators: a status, and each condition with the reason why it fails."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

import orjson
from faust import web
from msgspec import Struct, to_builtins

from metroline.app.readiness import conditions
from metroline.app.views.operation import Operation
from metroline.app.views.view import NOT_STORED, LineView


class Health(Struct, frozen=True, omit_defaults=True):
    """The health of a worker: each condition as `ok` or the reason why it fails."""

    status: Literal["ok", "failing"]
    conditions: dict[str, str]
    paused: dict[str, str] = {}
    """The stops that are paused, each with the reason."""
    broken: dict[str, str] = {}
    """The resources that are broken, each with the reason."""


HEALTH_ANSWERS = {HTTPStatus.SERVICE_UNAVAILABLE: Health}

STANDS_STILL = "there are messages to read, and nobody reads them: {}"


class LiveView(LineView):
    """200 while this worker makes progress; 503 if it should be restarted. The answer itself shows that it runs."""

    api = (Operation("get", "Health for restarts: 503 if a restart helps", Health, others=HEALTH_ANSWERS),)

    async def get(self, request: web.Request) -> web.Response:
        stalled = self.worker.stall_watch.stalled
        reading = STANDS_STILL.format(", ".join(stalled)) if stalled else None
        return answer_health(self, {"reading": reading})


class ReadyView(LineView):
    """200 while this worker can take records and send them on; 503 with the conditions that fail."""

    api = (Operation("get", "Health for traffic: 503 until the worker is ready", Health, others=HEALTH_ANSWERS),)

    async def get(self, request: web.Request) -> web.Response:
        return answer_health(self, conditions(self.worker))


def answer_health(view: LineView, found: Mapping[str, str | None]) -> web.Response:
    """Return each condition as `ok` or the reason why it fails; the status is 503 if one of them fails.

    Stops that are paused and resources that are broken are named, too. That is no failure of the worker: a restart
    would not help.
    """
    is_failing = any(found.values())
    health = Health(
        "failing" if is_failing else "ok",
        {name: reason or "ok" for name, reason in found.items()},
        view.worker.paused_stops,
        view.worker.broken_resources,
    )
    return view.bytes(
        orjson.dumps(to_builtins(health), option=orjson.OPT_INDENT_2),
        content_type="application/json",
        status=HTTPStatus.SERVICE_UNAVAILABLE if is_failing else HTTPStatus.OK,
        headers=dict(NOT_STORED),
    )
