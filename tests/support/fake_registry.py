"""A schema registry in this process, with Confluent's interface."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from tests.support.fake_http import FakeHttpServer


@dataclass
class FakeRegistry(FakeHttpServer):
    """The schemas of a registry, and how it answers."""

    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The answers by the id of the schema."""
    subjects: dict[str, list[int]] = field(default_factory=dict)
    """The ids of the versions of each subject."""
    asked: list[str] = field(default_factory=list)
    """The paths that were asked for."""
    status: int = 200
    """Any other is the answer to every question."""
    hangs: bool = False

    def add(self, identity: int, schema: Any, kind: str = "AVRO", subject: str = "", **more: Any) -> int:
        """Register a schema, given as text or as JSON data, and return its id."""
        text = schema if isinstance(schema, str) else orjson.dumps(schema).decode()
        self.schemas[identity] = {"schema": text, "schemaType": kind, **more}
        if kind == "AVRO":
            del self.schemas[identity]["schemaType"]  # as Confluent's registry does
        if subject:
            self.subjects.setdefault(subject, []).append(identity)
        return identity

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a question as a registry does."""
        self.asked.append(request.path)
        while self.hangs:
            await asyncio.sleep(0.01)
        if self.status != 200:
            return self._refusal(self.status, self.status * 100 + 1, "as the test says")
        match request.path.strip("/").split("/"):
            case ["schemas", "ids", identity]:
                found = self.schemas.get(int(identity))
                return self._refusal(404, 40403, "Schema not found") if found is None else web.json_response(found)
            case ["subjects", subject, "versions", version]:
                ids = self.subjects.get(subject, [])
                if not ids:
                    return self._refusal(404, 40401, f"Subject '{subject}' not found.")
                number = len(ids) if version == "latest" else int(version)
                named = {"subject": subject, "version": number, "id": ids[number - 1]}
                return web.json_response(named | self.schemas[ids[number - 1]])
        return web.Response(status=404, text="<html>no such page</html>")

    @staticmethod
    def _refusal(status: int, code: int, text: str) -> web.Response:
        return web.json_response({"error_code": code, "message": text}, status=status)
