"""An OpenSearch in this process, which answers bulk requests as a test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from tests.support.fake_http import FakeHttpServer

ItemError = tuple[int, str, str]
"""The status, type and reason of the error of a document."""


@dataclass
class FakeOpenSearch(FakeHttpServer):
    """The documents of a cluster, and how it answers."""

    documents: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """The documents by index and id."""
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: list[Callable[[], web.Response]] = field(default_factory=list)
    """The answers to the next requests, whatever they are."""
    errors: list[Callable[[dict[str, Any]], ItemError | None]] = field(default_factory=list)
    """For each of the next bulk requests, what is wrong with a document; the last one stays."""
    max_documents: int = 1_000_000
    """The number of documents above which a request is too large."""
    bulks: list[int] = field(default_factory=list)
    """The numbers of documents of the bulk requests that were answered."""

    def count(self, index: str) -> int:
        return sum(own == index for own, _ in self.documents)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request as a cluster does."""
        body = await request.read()
        if self.answers:
            return self.answers.pop(0)()
        match request.method, request.path.strip("/").split("/"):
            case "GET", [""]:
                return web.json_response({"version": {"distribution": "opensearch", "number": "2.19.1"}})
            case "POST", ["_bulk"]:
                return self._bulk(body)
            case "GET", ["_index_template", name] if name in self.templates:
                found = {"name": name, "index_template": self.templates[name]}
                return web.json_response({"index_templates": [found]})
            case "PUT", ["_index_template", name]:
                self.templates[name] = orjson.loads(body)
                return web.json_response({"acknowledged": True})
        return refusal(404, "resource_not_found_exception", "there is none")()

    def _bulk(self, body: bytes) -> web.Response:
        lines = [orjson.loads(line) for line in body.splitlines()]
        pairs = list(zip(lines[::2], lines[1::2], strict=True))
        if len(pairs) > self.max_documents:
            return web.Response(status=413, text="too large")
        wrong = self.errors[0] if self.errors else lambda document: None
        if len(self.errors) > 1:
            del self.errors[0]
        items = []
        for action, document in pairs:
            told = action["index"]
            if (error := wrong(document)) is not None:
                status, kind, reason = error
                items.append({"index": {"status": status, "error": {"type": kind, "reason": reason}}})
            else:
                self.documents[told["_index"], told["_id"]] = document
                items.append({"index": {"status": 201}})
        self.bulks.append(len(pairs))
        return web.json_response({"errors": any("error" in one["index"] for one in items), "items": items})


def refusal(status: int, kind: str, reason: str, **headers: str) -> Callable[[], web.Response]:
    """Return what makes an answer that refuses a whole request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"error": {"type": kind, "reason": reason}, "status": status}
    return lambda: web.json_response(body, status=status, headers=named)
