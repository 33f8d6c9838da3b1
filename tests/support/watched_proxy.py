"""A proxy in front of a worker: it counts the streams that run through it, and may hold them back, as some do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientResponse, ClientSession, ClientTimeout
from aiohttp.web import Application, AppRunner, Request, Response, StreamResponse, TCPSite

from metroline.app.views.live import STREAM

OF_ONE_CONNECTION = ("connection", "content-encoding", "content-length", "transfer-encoding")
"""Headers that a proxy does not pass on as they are."""


@dataclass
class WatchedProxy:
    """The proxy and what it has seen."""

    target: str
    """The address of the worker."""
    holds_back: bool = False
    """True for a proxy that passes an answer on once it has all of it: a stream never ends."""
    url: str = ""
    streams: int = 0
    """Streams that run through it at the moment."""
    _client: ClientSession = field(init=False)

    async def answer(self, request: Request) -> StreamResponse:
        """Pass a request on, and its answer back."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in OF_ONE_CONNECTION}
        asked = self._client.request(
            request.method,
            self.target + request.path_qs,
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        )
        async with asked as answer:
            told = {name: value for name, value in answer.headers.items() if name.lower() not in OF_ONE_CONNECTION}
            if request.path != STREAM:
                return Response(status=answer.status, headers=told, body=await answer.read())
            self.streams += 1
            try:
                return await self._stream(request, answer, told)
            finally:
                self.streams -= 1

    async def _stream(self, request: Request, answer: ClientResponse, headers: dict[str, str]) -> StreamResponse:
        if self.holds_back:
            return Response(status=answer.status, headers=headers, body=await answer.read())
        response = StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        return response


@asynccontextmanager
async def watched_proxy(target: str, holds_back: bool = False) -> AsyncIterator[WatchedProxy]:
    """Run a proxy on a free port."""
    proxy = WatchedProxy(target, holds_back)
    async with ClientSession(timeout=ClientTimeout(total=None), auto_decompress=True) as client:
        proxy._client = client
        app = Application()
        app.router.add_route("*", "/{path:.*}", proxy.answer)
        runner = AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        proxy.url = f"http://{host}:{port}"
        try:
            yield proxy
        finally:
            await runner.cleanup()
