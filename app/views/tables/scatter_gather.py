"""Puts pages of tables together from the parts that several workers hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar
from urllib.parse import quote

from msgspec import Meta, Struct, json, to_builtins

from metroline.app.operations.worker_client import Answers, ask, pass_header
from metroline.app.views.tables.catalog import OWNER, AnyTable, Content, Explained, GatheredTable, Stored
from metroline.app.views.tables.recovered import RecoveredPartitions

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

T = TypeVar("T")

MAX_PARTITIONS = 100_000
"""Number of partitions that a worker may claim to know. Kafka holds fewer in a cluster."""


class Share(Struct, frozen=True):
    """The partitions of a table that a worker holds, and their number in all as far as it is known."""

    partitions: Annotated[list[Annotated[int, Meta(ge=0, lt=MAX_PARTITIONS)]], Meta(max_length=MAX_PARTITIONS)]
    partitions_in_all: Annotated[int, Meta(ge=0, le=MAX_PARTITIONS)]


class Coverage(Struct, frozen=True):
    """The workers and partitions that a page covers, and those that are missing from it."""

    workers: list[str]
    missing: list[str]
    partitions: list[int]
    partitions_in_all: int
    missing_partitions: list[int]


@dataclass(frozen=True, slots=True)
class Part(Generic[Content]):
    """The part of a page that one worker holds."""

    share: Share
    content: Content


@dataclass(frozen=True, slots=True)
class GatheredPage(Generic[Content]):
    """A page, put together from its parts."""

    coverage: Coverage
    content: Content | None
    """None if no worker that holds entries answered: sums of nothing would be zeros that mean nothing."""

    def as_json(self) -> dict[str, Any]:
        return dict(to_builtins(self.coverage) | (to_builtins(self.content) if self.content is not None else {}))


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a table as decoded from JSON, None if no worker that answered has it."""

    value: object | None
    missing: list[str]
    """Workers that gave no answer and may have it."""


class EntryAnswer(Struct, frozen=True):
    """Another worker's answer about an entry."""

    value: Any


class ScatterGather:
    """Reads tables on this worker, and asks the other workers that hold entries of them."""

    def __init__(self, app: LineApp) -> None:
        self.app = app
        self._recovered = RecoveredPartitions(app)

    @property
    def url(self) -> str:
        """The address by which other workers know this one."""
        return str(self.app.conf.canonical_url)

    def partitions_here(self, table: AnyTable) -> frozenset[int]:
        """Return the partitions of a table that this worker holds."""
        return self._recovered.partitions(self._topic(table))

    async def page(
        self, table: GatheredTable[Content, Stored, Explained], *, local: bool
    ) -> GatheredPage[Content] | None:
        """Return the page of a table, with `local` from this worker alone; None if no live worker holds the table."""
        others = [] if local else self._others(table)
        if table.table(self.app.line_tables) is None and not others:
            return None

        def decode(body: bytes) -> Part[Content]:
            return Part(json.decode(body, type=Share), json.decode(body, type=table.content))

        here, answers = await asyncio.gather(self._read(table), self._ask(others, f"/table/{table.name}/", decode))
        parts = here | answers.pages
        shares = [part.share for part in parts.values()]
        coverage = _coverage(parts, shares, answers.missing + answers.lacking)
        if coverage.missing and not coverage.partitions:
            return GatheredPage(coverage, None)
        return GatheredPage(coverage, table.merge(part.content for part in parts.values()))

    async def entry(self, table: GatheredTable[Content, Stored, Explained], key: str, *, local: bool) -> Entry | None:
        """Return an entry from the worker that holds its partition; None if no live worker holds the table."""
        others = [] if local else self._others(table)
        stored = table.table(self.app.line_tables)
        if stored is None and not others:
            return None
        partition, _, _ = key.partition("/")
        if stored is not None and partition in map(str, self.partitions_here(table)):
            return Entry(stored.read(key.encode(errors="replace")), [])

        def decode(body: bytes) -> object:
            value = json.decode(body, type=EntryAnswer).value
            table.explained(key, value)  # raises for an entry of another shape
            return value

        answers = await self._ask(others, f"/table/{table.name}/{quote(key)}/", decode)
        return Entry(next(iter(answers.pages.values()), None), sorted(answers.missing))

    async def others(self, table: AnyTable, path: str, decode: Callable[[bytes], T]) -> Answers[T]:
        """Ask the other workers that hold entries of a table for their part of the page at `path`."""
        return await self._ask(self._others(table), path, decode)

    async def _read(self, table: GatheredTable[Content, Stored, Explained]) -> dict[str, Part[Content]]:
        stored, partitions = table.table(self.app.line_tables), self.partitions_here(table)
        if stored is None:
            return {}
        share = Share(sorted(partitions), self._partition_count(table))
        return {self.url: Part(share, await table.read(stored, partitions))}

    async def _ask(self, workers: list[str], path: str, decode: Callable[[bytes], T]) -> Answers[T]:
        return await ask(self.app.http_client, workers, path, decode, self._pass) if workers else Answers()

    def _pass(self, url: str) -> dict[str, str]:
        """Return the header by which this worker may read the pages of another one; none without a token."""
        return pass_header(self.app.settings.metroline_token, self.app.line_topics.prefix, url)

    def _others(self, table: AnyTable) -> list[str]:
        """Return the other workers that hold entries.

        Within the group that shares the table Faust knows them; a worker of another role asks all live owners.
        """
        topic = self._topic(table)
        known = {url for url, held in self.app.assignor.table_metadata(topic).items() if held.get(topic)}
        if not known:
            known = {worker.url for worker in self.app.heartbeat.workers.alive(time.time()) if OWNER in worker.parts}
        return sorted(known - {self.url})

    def _partition_count(self, table: AnyTable) -> int:
        """Return the number of partitions that were assigned, so that one that no worker reports is noticed."""
        topic = self._topic(table)
        shares = self.app.assignor.table_metadata(topic).values()
        return 1 + max((partition for share in shares for partition in share.get(topic, ())), default=-1)

    def _topic(self, table: AnyTable) -> str:
        return self.app.line_topics.changelog(table.name)


def _coverage(workers: Collection[str], shares: Collection[Share], missing: list[str]) -> Coverage:
    held = {partition for share in shares for partition in share.partitions}
    in_all = max((share.partitions_in_all for share in shares), default=0)
    return Coverage(sorted(workers), sorted(missing), sorted(held), in_all, sorted({*range(in_all)} - held))
