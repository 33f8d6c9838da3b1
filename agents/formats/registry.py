"""A client of a schema registry with Confluent's HTTP interface (Confluent, Apicurio, Karapace, Redpanda).

It asks for schemas and nothing else, so it is a few requests with aiohttp, which Faust brings along: the registry
client of confluent-kafka needs five more packages, and repeats requests by rules of its own.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from metroline.routing.errors import MetrolineError

if TYPE_CHECKING:
    import aiohttp

REQUEST_SECONDS = 5.0
"""Time that the registry has to answer a request."""

MAX_REFERENCES = 1_000
"""Maximum number of schemas that a schema may refer to, directly or not."""

NOT_FOUND = range(40400, 40500)
"""Error codes of a registry that does not have what it was asked for."""

DEFAULT_TYPE = "AVRO"
"""The type of a schema for which the registry names none."""


class RegistryAway(MetrolineError):
    """Raised when the registry does not answer, or not as a registry does. It may answer later."""


class NotRegistered(MetrolineError):
    """Raised when the registry does not have a schema or a subject."""


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """The address of a registry, and what it needs to let a client in."""

    urls: tuple[str, ...]
    """The addresses of its nodes, which are asked in turn until one answers."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    """A token for `Authorization: Bearer`."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """None for the certificates of the system."""


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

    def __init__(self, access: RegistryAccess) -> None:
        self.access = access
        self._session: aiohttp.ClientSession | None = None

    @property
    def address(self) -> str:
        """The address of the registry, for messages."""
        return ", ".join(self.access.urls)

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
        if self._session is not None:
            await self._session.close()

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
        problems = []
        for url in self.access.urls:
            try:
                return await self._ask(url, path)
            except RegistryAway as error:
                problems.append(str(error))
        raise RegistryAway("; ".join(dict.fromkeys(problems)))

    async def _ask(self, url: str, path: str) -> Mapping[str, Any]:
        import aiohttp  # takes long to import, and most lines have no registry

        if self._session is None:
            self._session = self._open()
        try:
            async with self._session.get(f"{url.rstrip('/')}/{path}") as response:
                status, body = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = "no answer" if isinstance(error, asyncio.TimeoutError) else str(error) or type(error).__name__
            raise RegistryAway(f"{url}: {reason}") from error
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise RegistryAway(f"{url} answered {status} without JSON: is it the address of a schema registry?")
        if status == 200:
            return answer
        text = str(answer.get("message") or answer)[:300]
        if status == 404 and answer.get("error_code") in NOT_FOUND:
            raise NotRegistered(text)
        if status in (401, 403):
            text = f"{text} (are the SCHEMA_REGISTRY settings for the login right?)"
        raise RegistryAway(f"{url} answered {status}: {text}")

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        access, headers = self.access, {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if access.token is not None:
            headers["Authorization"] = f"Bearer {access.token}"
        elif access.username is not None:
            login = f"{access.username}:{access.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
            headers=headers,
            connector=aiohttp.TCPConnector(ssl=access.tls if access.tls is not None else True),
        )
