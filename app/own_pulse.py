"""The pulse of this worker: the counts of its metrics, what waits for it, and the conditions that fail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from metroline.agents.kafka.faust_transport import Consumer
from metroline.agents.pulses.piling import Piling
from metroline.agents.pulses.pulse import MAX_PLACES, MAX_PROBLEMS, Pulse, ScheduleSum, as_text
from metroline.agents.pulses.pulse_figures import (
    EndedSums,
    outcomes_of,
    places_of,
    rules_of,
    sent_of,
    tracks_of,
)
from metroline.agents.pulses.schedule_figures import schedules_of
from metroline.app.readiness import conditions
from metroline.routing.addresses import SOURCE

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp


class OwnPulse:
    """Reads the figures of a worker when it is asked for them."""

    def __init__(self, app: LineApp, ended: EndedSums | None) -> None:
        """`ended` are the sums of records with an outcome; None unless the worker plays the arrivals."""
        self._app = app
        self._ended = ended
        self._code = app.line.identity()
        self._piling = Piling()

    def __call__(self, is_last: bool) -> Pulse:
        """Return the pulse; `is_last` if the worker stops."""
        app, metrics = self._app, self._app.bus.metrics
        now, waiting = time.time(), self._waiting()
        oldest = self._oldest(now)
        since = self._piling.observe(waiting, oldest, now)
        entered = app.on_ramp.entered if app.on_ramp is not None else {}
        problems = [as_text(f"{name}: {reason}") for name, reason in conditions(app).items() if reason]
        return Pulse(
            worker=as_text(app.worker_id),
            url=str(app.conf.canonical_url),
            group=as_text(app.conf.id),
            parts=tuple(map(as_text, sorted(app.role.parts)[:MAX_PLACES])),
            strategy=app.settings.routing_strategy,
            version=app.live_rules.version,
            started=app.started_at,
            at=now,
            code=self._code,
            is_last=is_last,
            problems=tuple(problems[:MAX_PROBLEMS]),
            behind=round(app.work.behind, 2),
            source_behind=round(metrics.behind_now, 2),
            entered=metrics.journeys.entered,
            unaccounted=app.accounts.unaccounted if app.accounts is not None else 0,
            durations=metrics.journeys.durations.counts,
            places=places_of(metrics, waiting, oldest, since, app.paused_stops),
            outcomes=outcomes_of(metrics.journeys),
            tracks=tracks_of(metrics.journeys),
            rules=rules_of(metrics.journeys),
            rules_held=len(metrics.journeys.rule_hits),
            sent=sent_of(entered),
            ended=self._ended.latest() if self._ended is not None else (),
            schedules=self._schedules(),
        )

    def _schedules(self) -> tuple[ScheduleSum, ...]:
        """Return the sums of the schedules, after those of `ended`."""
        app, outcomes = self._app, self._app.line_tables.outcomes
        if self._ended is None or outcomes is None:
            return ()
        return schedules_of(app.clocks, self._ended.of_schedules, outcomes)

    def _waiting(self) -> dict[str, int]:
        """Return the number of messages that are not done, by address."""
        app = self._app
        counts = cast(Consumer, app.consumer).waiting()
        waiting = {address: counts.get(app.line_topics.at(address), 0) for address in app.agents if address != "rules"}
        return waiting | ({SOURCE: app.on_ramp.ahead} if app.on_ramp is not None else {})

    def _oldest(self, now: float) -> dict[str, float]:
        """Return the age of the oldest message that was fetched and is not done, by address, where it is known."""
        app, metrics = self._app, self._app.bus.metrics
        written = cast(Consumer, app.consumer).buffers.oldest()
        topics = {address: app.line_topics.at(address) for address in app.agents if address != "rules"}
        oldest = {address: max(0.0, now - written[topic]) for address, topic in topics.items() if topic in written}
        return oldest | ({SOURCE: metrics.behind_now} if app.on_ramp is not None and metrics.is_behind_known else {})
