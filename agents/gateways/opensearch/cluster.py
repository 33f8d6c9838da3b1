"""Requests to an OpenSearch or Elasticsearch cluster.

They are a handful: with aiohttp, which Faust brings along, every answer can be told from every other, which decides
between a dead letter and a record that waits. The clients of the two projects each refuse the server of the other, or
repeat requests by rules of their own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from metroline.agents.gateways.opensearch.bulk import Document, Item, body_of, items_of, reason_of
from metroline.routing.errors import MetrolineError

if TYPE_CHECKING:
    import aiohttp

REQUEST_SECONDS = 30.0
"""Time that a node has to answer a request."""

CONNECT_SECONDS = 5.0
"""Time that a node has to accept a connection."""

SHARD_TIMEOUT = "20s"
"""Time that the cluster waits for a shard before it says of a document that there is none."""

MAX_RETRY_AFTER = 60.0
"""Maximum time in seconds that the cluster may ask to wait for."""


class ClusterAway(MetrolineError):
    """Raised when a cluster does not answer, or takes nothing at the moment. Documents wait."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        """Seconds after which the cluster asks to be asked again."""


class RequestRefused(MetrolineError):
    """Raised when a cluster refuses a whole request as too large or malformed."""


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """The address of a cluster, and what it needs to let a client in."""

    urls: tuple[str, ...]
    """The addresses of its nodes. After one that does not answer, the next one is asked."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    """A key for `Authorization: ApiKey`, in its encoded form."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """None for the certificates of the system."""


class SearchCluster:
    """A client of a cluster."""

    def __init__(self, access: ClusterAccess) -> None:
        self.access = access
        self._node = 0
        """The place of the node that is asked next among the addresses."""
        self._session: aiohttp.ClientSession | None = None

    @property
    def address(self) -> str:
        """The addresses of the cluster, for messages."""
        return ", ".join(self.access.urls)

    async def write(self, documents: Sequence[Document]) -> list[Item]:
        """Write documents, in order, in one request; return the result of each.

        Raise `ClusterAway`, after which some of them may be written, or `RequestRefused`, after which none is.
        """
        path = f"_bulk?timeout={SHARD_TIMEOUT}&filter_path=errors,items.*.status,items.*.error"
        answer = await self._ask("POST", path, body_of(documents), "application/x-ndjson")
        try:
            return items_of(answer or {}, len(documents))
        except ValueError as error:
            raise ClusterAway(f"{self._url} answered a bulk request, but {error}") from error

    async def version(self) -> str:
        """Return the product and version of the cluster; raise `ClusterAway` or `RequestRefused`."""
        answer = await self._ask("GET", "") or {}
        found = answer.get("version")
        if not isinstance(found, Mapping) or not isinstance(found.get("number"), str):
            raise ClusterAway(f"{self._url} is no OpenSearch and no Elasticsearch")
        product = "OpenSearch" if found.get("distribution") == "opensearch" else "Elasticsearch"
        return f"{product} {found['number']}"

    async def index_template(self, name: str) -> Mapping[str, Any] | None:
        """Return an index template; None if there is none. Raise `ClusterAway` or `RequestRefused`."""
        answer = await self._ask("GET", f"_index_template/{name}")
        try:
            return None if answer is None else dict(answer["index_templates"][0]["index_template"])
        except (LookupError, TypeError, ValueError):
            raise ClusterAway(f"{self._url} answered with no index template") from None

    async def put_index_template(self, name: str, template: Mapping[str, Any]) -> None:
        """Create or replace an index template; raise `ClusterAway` or `RequestRefused`."""
        await self._ask("PUT", f"_index_template/{name}", orjson.dumps(template))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def _url(self) -> str:
        return self.access.urls[self._node].rstrip("/")

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> Mapping[str, Any] | None:
        """Return the answer of the first node that gives one; None if what was asked for does not exist."""
        problems = []
        for _ in self.access.urls:
            try:
                return await self._ask_node(method, path, body, kind)
            except ClusterAway as error:
                if error.retry_after:
                    raise
                problems.append(str(error))
                self._node = (self._node + 1) % len(self.access.urls)
        raise ClusterAway("; ".join(dict.fromkeys(problems)))

    async def _ask_node(self, method: str, path: str, body: bytes | None, kind: str) -> Mapping[str, Any] | None:
        import aiohttp  # takes long to import, and most lines have no such end

        if self._session is None:
            self._session = self._open()
        url = self._url
        try:
            headers = {"Content-Type": kind} if body is not None else {}
            async with self._session.request(method, f"{url}/{path}", data=body, headers=headers) as response:
                status, answered = response.status, await response.read()
                retry_after = response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterAway(f"{url}: {_reason(error)}") from error
        answer = _decoded(answered)
        if status in (200, 201) and isinstance(answer, dict):
            return answer
        if status == 404 and method == "GET" and isinstance(answer, dict):
            return None
        if status == 413:
            raise RequestRefused(f"{url} answered 413: it is too large")
        text = f"{url} answered {status}{_said(answer)}"
        if status == 400 and isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            raise RequestRefused(text)
        raise ClusterAway(text + _remedy(status), _seconds(retry_after))

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        access, headers = self.access, {"Accept": "application/json"}
        if access.api_key is not None:
            headers["Authorization"] = f"ApiKey {access.api_key}"
        elif access.username is not None:
            login = f"{access.username}:{access.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS),
            headers=headers,
            connector=aiohttp.TCPConnector(ssl=access.tls if access.tls is not None else True),
            cookie_jar=aiohttp.DummyCookieJar(),
        )


def _reason(error: Exception) -> str:
    """Return why there was no answer, without the host, which the address has already."""
    if isinstance(error, asyncio.TimeoutError):
        return "no answer"
    cause = getattr(error, "os_error", error)  # of a connection that was not made
    return str(cause) or type(cause).__name__


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except json.JSONDecodeError:
        return None


def _said(answer: Any) -> str:
    """Return what the answer says of an error, as the end of a sentence."""
    if not isinstance(answer, dict):
        return " without JSON: is it the address of an OpenSearch or Elasticsearch cluster?" if answer is None else ""
    error = answer.get("error")
    if isinstance(error, dict):
        return f": {reason_of(error)}"
    return f": {str(error or answer.get('message') or answer)[:300]}"


def _remedy(status: int) -> str:
    if status == 401:
        return " (are the OPENSEARCH settings for the login right?)"
    if status == 403:
        return " (the user or key lacks a right)"
    return ""


def _seconds(header: str) -> float:
    """Return the value of a header Retry-After in seconds; 0 if it is a date or none."""
    return min(float(header), MAX_RETRY_AFTER) if header.strip().isdigit() else 0.0
