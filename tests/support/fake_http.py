"""An HTTP server in this process, which answers as a test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from metroline.agents.http.access import HttpAccess
from metroline.app.local.ports import HOST, free_port


@dataclass
class FakeHttpServer:
    """The skeleton of a server: a subclass has `answer`."""

    port: int = field(default_factory=free_port)
    headers: list[dict[str, str]] = field(default_factory=list)
    """Those of the requests that came."""
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://{HOST}:{self.port}"

    @property
    def access(self) -> HttpAccess:
        return HttpAccess((self.url,))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        raise NotImplementedError

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        return await self.answer(request)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Answer on the port."""
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, HOST, self.port, ssl_context=self.tls).start()
        try:
            yield self
        finally:
            await runner.cleanup()
            await asyncio.sleep(0)
