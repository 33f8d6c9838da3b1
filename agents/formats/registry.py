"""A client of a schema registry with Confluent's HTTP interface (Confluent, Apicurio, Karapace, Redpanda).

It asks for schemas and nothing else, which is a few requests: the registry client of confluent-kafka needs five more
packages, and repeats requests by rules of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from metroline.agents.http.access import HttpAccess
from metroline.agents.http.client import HttpAnswer, HttpClient, NodeAway
from metroline.routing.errors import MetrolineError

REQUEST_SECONDS = 5.0
"""Time that the registry has to answer a request."""

MAX_REFERENCES = 1_000
"""Maximum number of schemas that a schema may refer to, directly or not."""

ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"

NOT_FOUND = range(40400, 40500)
"""Error codes of a registry that does not have what it was asked for."""

DEFAULT_TYPE = "AVRO"
"""The type of a schema for which the registry names none."""


class RegistryAway(NodeAway):
    """Raised when the registry does not answer, or not as a registry does. It may answer later."""


class NotRegistered(MetrolineError):
    """Raised when the registry does not have a schema or a subject."""


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema as the registry has it."""

    id: int
    type: str
    """AVRO, JSON or PROTOBUF."""
    text: str
    references: Mapping[str, str] = field(default_factory=dict)
    """The texts of all schemas that it refers to, directly or not, by the names under which they are referred to."""
    name: str = ""
    """The subject and version, if it was asked for by them."""

    def __str__(self) -> str:
        return f"schema {self.id}" + (f" ({self.name})" if self.name else "")


class SchemaRegistry:
    """Asks a registry for schemas."""

    def __init__(self, access: HttpAccess) -> None:
        self._client = HttpClient(access, RegistryAway, ACCEPT, REQUEST_SECONDS)

    @property
    def address(self) -> str:
        """The address of the registry, for messages."""
        return self._client.address

    async def by_id(self, identity: int) -> RegisteredSchema:
        """Return a schema; raise `NotRegistered` or `RegistryAway`."""
        answer = await self._get(f"schemas/ids/{identity}")
        return await self._schema(answer, identity)

    async def latest(self, subject: str) -> RegisteredSchema:
        """Return the latest version of a subject; raise `NotRegistered` or `RegistryAway`."""
        answer = await self._get(f"subjects/{quote(subject, safe='')}/versions/latest")
        try:
            identity, version = int(answer["id"]), answer["version"]
        except (LookupError, TypeError, ValueError):
            raise RegistryAway("its answer names no id of a schema") from None
        return await self._schema(answer, identity, f"{subject}, version {version}")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _schema(self, answer: Mapping[str, Any], identity: int, name: str = "") -> RegisteredSchema:
        if not isinstance(text := answer.get("schema"), str):
            raise RegistryAway("its answer holds no schema")
        references: dict[str, str] = {}
        try:
            await self._collect(answer.get("references") or (), references)
        except (LookupError, TypeError, ValueError):
            raise RegistryAway("its answer holds a reference that is none") from None
        return RegisteredSchema(identity, answer.get("schemaType") or DEFAULT_TYPE, text, references, name)

    async def _collect(self, references: Sequence[Mapping[str, Any]], found: dict[str, str]) -> None:
        """Add the texts of references, and of those that they refer to, by name."""
        for reference in references:
            name = str(reference["name"])
            if name in found or len(found) >= MAX_REFERENCES:
                continue
            subject, version = quote(str(reference["subject"]), safe=""), int(reference["version"])
            answer = await self._get(f"subjects/{subject}/versions/{version}")
            found[name] = str(answer["schema"])
            await self._collect(answer.get("references") or (), found)

    async def _get(self, path: str) -> Mapping[str, Any]:
        """Return the answer of the first node that gives one."""
        return await self._client.ask("GET", path, _content)


def _content(answer: HttpAnswer) -> Mapping[str, Any]:
    found = answer.json()
    if not isinstance(found, dict):
        raise RegistryAway(
            f"{answer.url} answered {answer.status} without JSON: is it the address of a schema registry?"
        )
    if answer.status == 200:
        return found
    text = str(found.get("message") or found)[:300]
    if answer.status == 404 and found.get("error_code") in NOT_FOUND:
        raise NotRegistered(text)
    if answer.status in (401, 403):
        text = f"{text} (are the SCHEMA_REGISTRY settings for the login right?)"
    raise RegistryAway(f"{answer.url} answered {answer.status}: {text}")
