"""The first page: this worker, and the live workers of its line."""

from __future__ import annotations

import time

from faust import web

from metroline.agents.membership.worker import WorkerInfo
from metroline.app.markup.html import Markup, grid, moment, number, tag
from metroline.app.markup.times import iso
from metroline.app.readiness import conditions
from metroline.app.views.health import HEALTH_ANSWERS, Health, answer_health
from metroline.app.views.operation import Operation
from metroline.app.views.view import LineView, wants_html


class IndexView(LineView):
    """A page for browsers; programs get the same as at `/health/ready`."""

    api = (Operation("get", "Health for traffic, as at /health/ready", Health, others=HEALTH_ANSWERS),)

    async def get(self, request: web.Request) -> web.Response:
        if not wants_html(request):
            return answer_health(self, conditions(self.worker))
        return self.answer(request, "Worker", {}, self._show)

    def _show(self) -> Markup:
        worker, now = self.worker, time.time()
        facts = {
            "role": worker.role.name,
            "strategy for new journeys": worker.settings.routing_strategy,
            "rules": f"version {worker.live_rules.version}" if worker.live_rules.current else "none yet",
            "ready": "; ".join(filter(None, conditions(worker).values())) or "yes",
        }
        alive = sorted(worker.workers.alive(now), key=lambda one: (one.group, one.url))
        rows = [_row(one, now) for one in alive]
        return Markup(
            tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()])
            + tag("h2", "Workers of this line")
            + grid(["Worker", "Group", "Roles", "Strategy", "Rules#", "Behind#", "Up since", "Last seen"], rows)
        )


def _row(worker: WorkerInfo, now: float) -> list[object]:
    identity = [tag("a", worker.url, href=worker.url), worker.group, ", ".join(worker.parts)]
    last_seen = f"{max(0.0, now - worker.at):.0f} s ago"
    return [
        *identity,
        worker.strategy,
        number(worker.version),
        _behind(max(worker.behind, worker.source_behind)),
        moment(iso(worker.started)),
        last_seen,
    ]


def _behind(seconds: float) -> str:
    """Return how far a worker is behind as text. Less than a second is the time that records take anyway."""
    return f"{seconds:.0f} s" if seconds >= 1 else "no"
