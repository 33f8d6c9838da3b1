"""A client of an HTTP server that has several nodes: where one does not answer, the next one is asked.

It is a few requests with aiohttp, which Faust brings along. What an answer means is up to whoever asks.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from metroline.agents.http.access import HttpAccess
from metroline.routing.errors import MetrolineError

if TYPE_CHECKING:
    import aiohttp

MAX_RETRY_AFTER = 60.0
"""Maximum time in seconds that a server may ask to wait for."""

Read = TypeVar("Read")


class NodeAway(MetrolineError):
    """Raised when a node does not answer, or not as it should. Another one may, or the same one later."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        """Seconds after which the server asks to be asked again; no other node is asked before."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer of a node."""

    url: str
    """The address of the node."""
    status: int
    body: bytes
    retry_after: float = 0.0
    """Seconds after which it asks to be asked again."""

    def json(self) -> Any:
        """Return the answer as JSON data; None if it is no JSON."""
        try:
            return orjson.loads(self.body)
        except json.JSONDecodeError:
            return None


class HttpClient:
    """Asks the nodes of a server."""

    def __init__(
        self,
        access: HttpAccess,
        away: type[NodeAway] = NodeAway,
        accept: str = "application/json",
        seconds: float = 30.0,
        connect_seconds: float = 5.0,
    ) -> None:
        """`away` is raised if no node answers. A node has `seconds` to answer, `connect_seconds` of them to connect."""
        self.access = access
        self._away = away
        self._accept = accept
        self._seconds = seconds
        self._connect_seconds = connect_seconds
        self._node = 0
        """The place of the node that answered last among the addresses."""
        self._session: aiohttp.ClientSession | None = None

    @property
    def address(self) -> str:
        """The addresses of the server, for messages."""
        return ", ".join(self.access.urls)

    async def ask(
        self,
        method: str,
        path: str,
        read: Callable[[HttpAnswer], Read],
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        kind: str = "application/json",
        is_repeatable: bool = True,
    ) -> Read:
        """Return what `read` makes of the answer of the first node that gives one.

        Another node is asked if `read` raises `NodeAway`. A request that is not `is_repeatable` goes to another node
        only if the one before refused the connection: it has not been carried out then.
        """
        problems = []
        urls, first = self.access.urls, self._node  # which other requests change meanwhile
        for place in (*range(first, len(urls)), *range(first)):
            try:
                found = read(await self._send(urls[place].rstrip("/"), method, path, query, body, kind))
                self._node = place
                return found
            except NodeAway as error:
                if error.retry_after or not (is_repeatable or isinstance(error, _NotConnected)):
                    raise self._away(str(error), error.retry_after) from error
                problems.append(str(error))
        raise self._away("; ".join(dict.fromkeys(problems)))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(
        self, url: str, method: str, path: str, query: Mapping[str, str] | None, body: bytes | None, kind: str
    ) -> HttpAnswer:
        import aiohttp  # takes long to import, and most lines ask no such server

        if self._session is None:
            self._session = self._open()
        headers = {"Content-Type": kind} if body is not None else {}
        data = None if body is None else io.BytesIO(body)  # which is sent in pieces
        try:
            async with self._session.request(
                method, f"{url}/{path}", params=query, data=data, headers=headers
            ) as response:
                retry_after = _seconds(response.headers.get("Retry-After", ""))
                return HttpAnswer(url, response.status, await response.read(), retry_after)
        except aiohttp.ClientConnectorError as error:
            raise _NotConnected(f"{url}: {_reason(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NodeAway(f"{url}: {_reason(error)}") from error

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        access, headers = self.access, {"Accept": self._accept}
        if access.api_key is not None:
            headers["Authorization"] = f"ApiKey {access.api_key}"
        elif access.token is not None:
            headers["Authorization"] = f"Bearer {access.token}"
        elif access.username is not None:
            login = f"{access.username}:{access.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._seconds, sock_connect=self._connect_seconds),
            headers=headers,
            connector=aiohttp.TCPConnector(ssl=access.tls if access.tls is not None else True),
            cookie_jar=aiohttp.DummyCookieJar(),
        )


class _NotConnected(NodeAway):
    """Raised when a node takes no connection."""


def _reason(error: Exception) -> str:
    """Return why there was no answer, without the host, which the address has already."""
    if isinstance(error, asyncio.TimeoutError):
        return "no answer"
    cause = getattr(error, "os_error", error)  # of a connection that was not made
    return str(cause) or type(cause).__name__


def _seconds(header: str) -> float:
    """Return the value of a header Retry-After in seconds; 0 if it is a date or none."""
    return min(float(header), MAX_RETRY_AFTER) if header.strip().isdigit() else 0.0
