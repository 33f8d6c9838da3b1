"""The live figures of the line for programs and for scripts of pages: as JSON, and as a stream of events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

import msgspec
from faust import web
from faust.web.drivers.aiohttp import Web
from msgspec.structs import replace

from metroline.agents.pulses.live_state import Kind, Level, LiveEvent, LiveState, Verdict
from metroline.app.operations.journal import JournalEntry
from metroline.app.readiness import NOT_SERVED
from metroline.app.views.operation import Operation
from metroline.app.views.view import NOT_STORED, LineView
from metroline.app.web_server.event_streams import Data, EventStreams

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

LISTED = 20
"""Entries of the journal that are told with what changed."""

SAME_SECONDS = 60.0
"""Time between a pulse and a note in the journal of one start or stop: a worker may take long to start."""

STREAM = "/api/live/stream"
"""The path of the stream, which takes no turn of the gate."""


class LiveFiguresView(LineView):
    """The state of the whole line: rates, what waits and for how long, outcomes, workers, and what changed."""

    api = (Operation("get", "The live figures of the whole line", LiveState),)

    async def get(self, request: web.Request) -> web.Response:
        state = await line_state(self.worker)
        return self.bytes(msgspec.json.encode(state), content_type="application/json", headers=dict(NOT_STORED))


async def line_state(app: LineApp) -> LiveState:
    """Return the state of the line with the latest entries of its journal among what changed."""
    app.journal.keep_reading()
    state = await app.pulses.state()
    if not app.heartbeat.is_served:
        state = replace(state, verdict=without_brokers(state.verdict))
    return replace(state, events=with_journal(state.events, app.journal.entries()[:LISTED]))


def without_brokers(verdict: Verdict) -> Verdict:
    """Return a verdict that says first that no broker answers this worker: others may seem silent for that alone."""
    text = f"The brokers do not answer this worker: {NOT_SERVED}."
    return Verdict(Level.BAD, text, (verdict.text, *verdict.more), Kind.UNKNOWN)


def with_journal(events: Sequence[LiveEvent], entries: Iterable[JournalEntry]) -> tuple[LiveEvent, ...]:
    """Return events with the entries of the journal, newest first, and each worker that came or went once."""
    told: dict[tuple[str, str], list[float]] = {}
    for event in events:
        told.setdefault((event.kind, event.text), []).append(event.at)
    more = [
        LiveEvent(entry.at, entry.kind, entry.sentence, entry.href)
        for entry in entries
        if all(abs(entry.at - at) > SAME_SECONDS for at in told.get((entry.kind, entry.sentence), ()))
    ]
    return tuple(sorted([*events, *more], key=lambda event: -event.at))


def add_stream(app: LineApp) -> None:
    """Serve the stream: the whole state first, and then each second the state with its latest point alone."""

    async def read() -> Data:
        state = await line_state(app)
        return Data(msgspec.json.encode(state), msgspec.json.encode(replace(state, points=state.points[-1:])))

    streams = EventStreams(read)
    web_app = cast(Web, app.web).web_app
    web_app.router.add_get(STREAM, streams.answer, allow_head=False)
    web_app.on_shutdown.append(lambda _: streams.end())
