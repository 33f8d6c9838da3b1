"""A server in this process that answers the calls of SQS's JSON protocol as a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from metroline.app.local.ports import HOST, free_port

FORBIDDEN = ("com.amazon.coral.service#AccessDeniedException", "no policy allows it")


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was made."""

    url: str
    action: str
    arguments: dict[str, Any]
    headers: dict[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """Return the value of a header, whose name is in lower case."""
        return next(value for known, value in self.headers.items() if known.lower() == name)


@dataclass
class FakeSqs:
    """The answers of a server, and the calls that it got."""

    port: int = field(default_factory=free_port)
    attributes: dict[str, str] = field(default_factory=lambda: {"VisibilityTimeout": "30"})
    forbidden: set[str] = field(default_factory=set)
    """Actions that the user may not take."""
    answers: dict[str, Callable[[], web.Response | None]] = field(default_factory=dict)
    """Other answers, by action; None for the usual one."""
    calls: list[Call] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a call."""
        body = await request.read()
        action = request.headers["X-Amz-Target"].partition(".")[2]
        self.calls.append(Call(str(request.url), action, orjson.loads(body), dict(request.headers), body))
        if action in self.forbidden:
            return failure(*FORBIDDEN)
        if action in self.answers and (told := self.answers[action]()) is not None:
            return told
        match action:
            case "GetQueueUrl":
                return _json({"QueueUrl": f"{self.url}/000000000000/orders"})
            case "GetQueueAttributes":
                return _json({"Attributes": self.attributes})
            case "ReceiveMessage":
                return failure("com.amazonaws.sqs#InvalidParameterValue", "11 messages")
            case "SendMessageBatch":
                return _json({"Successful": [{"Id": one["Id"]} for one in self.calls[-1].arguments["Entries"]]})
        return _json({})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeSqs]:
        """Run the server."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, HOST, self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()


def failure(kind: str, text: str, status: int = 400, query_error: str | None = None) -> web.Response:
    """Return an answer with an error; `query_error` is the header with its code in the older protocol."""
    headers = {} if query_error is None else {"x-amzn-query-error": query_error}
    return web.json_response({"__type": kind, "message": text}, status=status, headers=headers)


def _json(found: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(found), content_type="application/x-amz-json-1.0")
