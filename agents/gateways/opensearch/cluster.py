"""Requests to an OpenSearch or Elasticsearch cluster.

They are a handful, and every answer can be told from every other, which decides between a dead letter and a record that
waits. The clients of the two projects each refuse the server of the other, or repeat requests by rules of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from metroline.agents.gateways.opensearch.bulk import Document, Item, body_of, items_of, reason_of
from metroline.agents.http.access import HttpAccess
from metroline.agents.http.client import HttpAnswer, HttpClient, NodeAway
from metroline.routing.errors import MetrolineError

SHARD_TIMEOUT = "20s"
"""Time that the cluster waits for a shard before it says of a document that there is none."""


class ClusterAway(NodeAway):
    """Raised when a cluster does not answer, or takes nothing at the moment. Documents wait."""


class RequestRefused(MetrolineError):
    """Raised when a cluster refuses a whole request as too large or malformed."""


class SearchCluster:
    """A client of a cluster."""

    def __init__(self, access: HttpAccess) -> None:
        self._client = HttpClient(access, ClusterAway)

    @property
    def address(self) -> str:
        """The addresses of the cluster, for messages."""
        return self._client.address

    async def write(self, documents: Sequence[Document]) -> list[Item]:
        """Write documents, in order, in one request; return the result of each.

        Raise `ClusterAway`, after which some of them may be written, or `RequestRefused`, after which none is.
        """
        path = f"_bulk?timeout={SHARD_TIMEOUT}&filter_path=errors,items.*.status,items.*.error"

        def read(answer: HttpAnswer) -> list[Item]:
            try:
                return items_of(_content(answer) or {}, len(documents))
            except ValueError as error:
                raise ClusterAway(f"{answer.url} answered a bulk request, but {error}") from error

        return await self._client.ask("POST", path, read, body=body_of(documents), kind="application/x-ndjson")

    async def version(self) -> str:
        """Return the product and version of the cluster; raise `ClusterAway` or `RequestRefused`."""
        return await self._client.ask("GET", "", _product)

    async def index_template(self, name: str) -> Mapping[str, Any] | None:
        """Return an index template; None if there is none. Raise `ClusterAway` or `RequestRefused`."""

        def read(answer: HttpAnswer) -> Mapping[str, Any] | None:
            found = _content(answer, may_be_missing=True)
            try:
                return None if found is None else dict(found["index_templates"][0]["index_template"])
            except (LookupError, TypeError, ValueError):
                raise ClusterAway(f"{answer.url} answered with no index template") from None

        return await self._client.ask("GET", f"_index_template/{name}", read)

    async def put_index_template(self, name: str, template: Mapping[str, Any]) -> None:
        """Create or replace an index template; raise `ClusterAway` or `RequestRefused`."""
        await self._client.ask("PUT", f"_index_template/{name}", _content, body=orjson.dumps(template))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _product(answer: HttpAnswer) -> str:
    found = (_content(answer) or {}).get("version")
    if not isinstance(found, Mapping) or not isinstance(found.get("number"), str):
        raise ClusterAway(f"{answer.url} is no OpenSearch and no Elasticsearch")
    product = "OpenSearch" if found.get("distribution") == "opensearch" else "Elasticsearch"
    return f"{product} {found['number']}"


def _content(answer: HttpAnswer, *, may_be_missing: bool = False) -> Mapping[str, Any] | None:
    """Return the content of an answer; None if what was asked for does not exist, and may be missing."""
    found = answer.json()
    if answer.status in (200, 201) and isinstance(found, dict):
        return found
    if answer.status == 404 and may_be_missing and isinstance(found, dict):
        return None
    if answer.status == 413:
        raise RequestRefused(f"{answer.url} answered 413: it is too large")
    text = f"{answer.url} answered {answer.status}{_said(found)}"
    if answer.status == 400 and isinstance(found, dict) and isinstance(found.get("error"), dict):
        raise RequestRefused(text)
    raise ClusterAway(text + _remedy(answer.status), answer.retry_after)


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
