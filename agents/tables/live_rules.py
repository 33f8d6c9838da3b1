"""The tables that a worker decides by: the line's file as it was at the start, and the live one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from metroline.agents.tables.line_table import LineTable
from metroline.routing.errors import InvalidRules
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import RuleTables, Strategy

POLL = 0.05
"""Seconds between two looks for the first version."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Publication:
    """A published table as the bus and the table `rules` hold it; its version is its message's offset + 1."""

    text: str
    replaces: int
    by: str
    at: float
    """Seconds since the epoch."""

    def as_json(self) -> dict[str, Any]:
        return {"rules": self.text, "replaces": self.replaces, "by": self.by, "at": self.at}

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> Publication:
        """Raises KeyError, TypeError or ValueError for what is no publication."""
        return cls(str(data["rules"]), int(data["replaces"]), str(data["by"]), float(data["at"]))


class LiveRules:
    """The filed and the live table; `served` names the stops that some live worker serves."""

    def __init__(
        self,
        from_file: RulesTable,
        table: LineTable,
        served: Callable[[], Collection[str]],
        strategy: Strategy,
        recovered: Callable[[], bool],
    ) -> None:
        self.from_file = from_file
        self._table = table
        self._served = served
        self._strategy = strategy
        self._recovered = recovered
        self._seen = -1
        self._served_then: set[str] = set()
        self._books: RuleTables | None = None
        self._refused: dict[int, str] = {}

    async def ready(self) -> None:
        """Waits until there is a live table, whole as the bus has it: a worker routes nothing before."""
        while not self._recovered() or self.current is None:  # noqa: ASYNC110  # the table is Faust's, and tells nobody of news
            await asyncio.sleep(POLL)

    @property
    def current(self) -> RuleTables | None:
        """The tables to decide by; None before the first version came."""
        if len(self._table.data) != self._seen or (self._refused and {*self._served()} != self._served_then):
            self._reload()
        return self._books

    @property
    def rule_tables(self) -> RuleTables:
        """The tables to decide by, for who waited until they were `ready`."""
        rule_tables = self.current
        assert rule_tables is not None, "nothing is routed before there is a table"
        return rule_tables

    @property
    def version(self) -> int:
        """The version of the live table; 0 before there is one."""
        rule_tables = self.current
        return rule_tables.live.version if rule_tables is not None else 0

    @property
    def latest(self) -> int:
        """The newest version that was published, used by this worker or not."""
        return max((int(key) for key, _ in self._table.entries()), default=0)

    def refused(self) -> dict[int, str]:
        """Versions that this worker does not use, and why."""
        return dict(self._refused)

    def publications(self) -> dict[int, Publication]:
        """All versions, newest first."""
        found = {int(key): Publication.of_json(value) for key, value in self._table.entries()}
        return dict(sorted(found.items(), reverse=True))

    def _reload(self) -> None:
        """Takes the newest version that validates; versions are never taken back, so their number tells of news.

        One that was refused is looked at again when other stops are served: a worker may have been on its way.
        """
        served = {*self._served()}
        before = self._refused
        self._refused = before.copy() if served == self._served_then else {}
        self._seen, self._served_then = len(self._table.data), served
        held = self._books.live.version if self._books is not None else 0
        for version, publication in self.publications().items():
            if version <= held:
                return
            if version in self._refused:
                continue
            try:
                book = RulesTable.parse(publication.text, version, f"rules {version}")
                Network.of(book).validate(self._served_then, f"rules {version}")
            except InvalidRules as error:
                self._refused[version] = str(error)
                if version not in before:
                    log.error("version %d of the rules table is not used, the one before it stays: %s", version, error)
                continue
            self._books = RuleTables(self.from_file, book)
            log.info("the rules table is at version %d, published by %s", version, publication.by)
            if not self._strategy.needs_live and publication.text != self.from_file.text:
                log.warning(
                    "journeys that begin here by %s keep to the line's file: version %d asks for that and a restart",
                    self._strategy.name,
                    version,
                )
            return
