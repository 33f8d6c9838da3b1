"""The rules tables that a worker decides by: the line's file as it was at the start, and the latest valid version."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor

from metroline.agents.tables.line_table import LineTable
from metroline.agents.tables.publication import Publication
from metroline.agents.tables.publications import Publications
from metroline.routing.errors import MetrolineError
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import RuleTables, Strategy

POLL_SECONDS = 0.05
"""Time between two checks for the first version."""

LARGE_CHARACTERS = 16_384
"""Length of a table that is read in a thread, since messages would wait: 100,000 characters take half a second."""

READER = ThreadPoolExecutor(1, "rules")
"""Reads large tables."""

log = logging.getLogger(__name__)


class LiveRules:
    """Follows the table `rules` and keeps the newest version that is valid for the stops that are served."""

    def __init__(
        self,
        from_file: RulesTable,
        table: LineTable,
        served: Callable[[], Collection[str]],
        strategy: Strategy,
        recovered: Callable[[], bool],
    ) -> None:
        """Take `served`, the stops that some live worker serves, and `recovered`, whether the table is read."""
        self.from_file = from_file
        self._table = table
        self._served = served
        self._strategy = strategy
        self._recovered = recovered
        self._seen = -1
        """Number of versions, with the forgotten ones, when they were last validated."""
        self._served_then: set[str] = set()
        self._current: RuleTables | None = None
        self._refused: dict[int, str] = {}
        self.publications = Publications(table)
        """All versions."""
        self._reading: dict[int, Future[RulesTable]] = {}
        """The large versions that are being read, or have been."""

    async def ready(self) -> None:
        """Wait until the table is recovered and has a valid version: a worker routes nothing before."""
        while not self._recovered() or self.current is None:  # noqa: ASYNC110 - Faust's table sends no event
            await asyncio.sleep(POLL_SECONDS)

    @property
    def current(self) -> RuleTables | None:
        """The tables to decide by; None before the first version, and while the table is yet to be read."""
        if self._recovered() and self._is_stale():
            self._reload()
        return self._current

    def _is_stale(self) -> bool:
        return self._count != self._seen or (bool(self._refused) and {*self._served()} != self._served_then)

    @property
    def _count(self) -> int:
        return len(self._table.data) + self._table.forgotten

    @property
    def rule_tables(self) -> RuleTables:
        """The tables to decide by, for callers that waited until they are `ready`."""
        rule_tables = self.current
        assert rule_tables is not None, "nothing is routed before there is a table"
        return rule_tables

    @property
    def version(self) -> int:
        """The version of the current table; 0 before the first version."""
        rule_tables = self.current
        return rule_tables.live.version if rule_tables is not None else 0

    @property
    def latest(self) -> int:
        """The newest version that was published, whether this worker uses it or not; 0 before the first version."""
        return max(map(int, self._table.data), default=0)

    def refused(self) -> dict[int, str]:
        """Return the versions that this worker does not use, with the problem of each."""
        return dict(self._refused)

    def _reload(self) -> None:
        """Switch to the newest valid version. Versions are never removed, so their number shows a new one.

        A refused version is validated again when the served stops change: a worker may have been starting.
        """
        served = {*self._served()}
        before = self._refused
        self._refused = before.copy() if served == self._served_then else {}
        self._seen, self._served_then = self._count, served
        current = self._current.live.version if self._current is not None else 0
        for version in sorted(map(int, self._table.data), reverse=True):
            if version <= current:
                return
            if version in self._refused:
                continue
            try:
                publication = self.publications[version]
                table = self._parsed(version, publication.text)
                if table is None:
                    return
                Network.of(table).validate(served, f"rules {version}")
            except Exception as error:  # noqa: BLE001 - whatever is published must not end a worker
                self._refuse(version, error, is_new=version not in before)
                continue
            self._use(table, publication)
            return

    def _parsed(self, version: int, text: str) -> RulesTable | None:
        """Return a version, or None while it is being read; raise `InvalidRules`."""
        if len(text) < LARGE_CHARACTERS:
            return self._parse(version, text)
        reading = self._reading.get(version)
        if reading is None:
            reading = READER.submit(self._parse, version, text)
            reading.add_done_callback(self._look_again)
            self._reading = {version: reading}
        return reading.result() if reading.done() else None

    def _look_again(self, _: object) -> None:
        self._seen = -1

    def _parse(self, version: int, text: str) -> RulesTable:
        return RulesTable.parse(text, version, f"rules {version}", ends=self.from_file.ends)

    def _refuse(self, version: int, error: Exception, *, is_new: bool) -> None:
        known = isinstance(error, MetrolineError)
        self._refused[version] = str(error) if known else f"{type(error).__name__}: {error}"
        if is_new:
            log.error(
                "version %d of the rules table is not used, the one before it stays: %s",
                version,
                self._refused[version],
                exc_info=None if known else error,
            )

    def _use(self, table: RulesTable, publication: Publication) -> None:
        self._current = RuleTables(self.from_file, table)
        log.info("the rules table is at version %d, published by %s", table.version, publication.by)
        if not self._strategy.needs_live and publication.text != self.from_file.text:
            log.warning(
                "journeys that begin here by %s keep to the line's file: version %d asks for that and a restart",
                self._strategy.name,
                table.version,
            )
