"""The address of the first page: a page about the line for people, and the readiness of this worker for programs."""

from __future__ import annotations

import time

from faust import web

from metroline.app.readiness import conditions
from metroline.app.views.access.forms import access_note
from metroline.app.views.first_page import SCRIPTS, first_page
from metroline.app.views.health import HEALTH_ANSWERS, Health, answer_health
from metroline.app.views.live import line_state
from metroline.app.views.operation import Operation
from metroline.app.views.view import LineView, wants_html


class IndexView(LineView):
    """A page for browsers; programs get the same as at `/health/ready`."""

    api = (Operation("get", "Health for traffic, as at /health/ready", Health, others=HEALTH_ANSWERS),)

    async def get(self, request: web.Request) -> web.Response:
        if not wants_html(request):
            return answer_health(self, conditions(self.worker))
        worker, now = self.worker, time.time()
        state = await line_state(worker)
        current = worker.live_rules.current
        announced = sorted(worker.workers.alive(now), key=lambda one: (one.group, one.url))
        table = None
        if current is not None:  # which the strategy of this worker follows
            table = current.live if worker.settings.strategy.needs_live else current.from_file
        return self.answer(
            request,
            "The line",
            {},
            lambda: first_page(
                state, table, worker.live_rules.version, announced, self._facts(), access_note(request), now
            ),
            extra=SCRIPTS,
        )

    def _facts(self) -> dict[str, str]:
        worker = self.worker
        return {
            "role": worker.role.name,
            "strategy for new journeys": worker.settings.routing_strategy,
            "rules": f"version {worker.live_rules.version}" if worker.live_rules.current else "none yet",
            "ready": "; ".join(filter(None, conditions(worker).values())) or "yes",
        }
