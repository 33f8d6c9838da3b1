"""The live figures of the line for programs and for scripts of pages: as JSON, and as a stream of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
from faust import web
from faust.web.drivers.aiohttp import Web
from msgspec.structs import replace

from metroline.agents.pulses.live_state import LiveEvent, LiveState
from metroline.app.views.operation import Operation
from metroline.app.views.view import NOT_STORED, LineView
from metroline.app.web_server.event_streams import Data, EventStreams

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

LISTED = 5
"""Versions of the rules that are told with what changed."""

STREAM = "/api/live/stream"
"""The path of the stream, which takes no turn of the gate."""


class LiveFiguresView(LineView):
    """The state of the whole line: rates, what waits and for how long, outcomes, workers, and what changed."""

    api = (Operation("get", "The live figures of the whole line", LiveState),)

    async def get(self, request: web.Request) -> web.Response:
        state = await line_state(self.worker)
        return self.bytes(msgspec.json.encode(state), content_type="application/json", headers=dict(NOT_STORED))


async def line_state(app: LineApp) -> LiveState:
    """Return the state of the line with the versions of its rules that were published last."""
    state = await app.pulses.state()
    published = [
        LiveEvent(one.at, "published", f"version {version} of the rules was published by {one.by}")
        for version, one in app.live_rules.latest_publications(LISTED).items()
    ]
    return replace(state, events=tuple(sorted([*state.events, *published], key=lambda event: -event.at)))


def add_stream(app: LineApp) -> None:
    """Serve the stream: the whole state first, and then each second the state with its latest point alone."""

    async def read() -> Data:
        state = await line_state(app)
        return Data(msgspec.json.encode(state), msgspec.json.encode(replace(state, points=state.points[-1:])))

    streams = EventStreams(read)
    web_app = cast(Web, app.web).web_app
    web_app.router.add_get(STREAM, streams.answer, allow_head=False)
    web_app.on_shutdown.append(lambda _: streams.end())
