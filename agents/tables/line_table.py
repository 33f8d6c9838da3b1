"""Faust tables that are written once per envelope, with every update confirmed before the envelope is acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, cast

import faust
import mode
import orjson
from faust.tables.manager import TableManager
from faust.types import EventT

from metroline.agents.delivery.bus import Bus
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.entries import ForeignEntry, check_publication, partition_of, report_foreign

PROGRESS_SECONDS = 10.0
"""Time between two lines of the log about a recovery that is under way."""


class _HasTopics(Protocol):
    """A Faust app that knows the topics of its line."""

    line_topics: Topics


class LineTable(faust.Table[bytes, bytes]):
    """A table whose keys begin with their partition and whose changelog is named without the role.

    Faust does not wait for the changelog of `table[key] = value`, so the source offset could be committed before the
    update is confirmed. `put` returns the confirmation to wait for.
    """

    def _changelog_topic_name(self) -> str:
        return cast(_HasTopics, self.app).line_topics.changelog(self.name)

    async def put(self, bus: Bus, partition: int, key: bytes, value: dict[str, Any]) -> Confirmation:
        """Set the value (anything that JSON can hold) of a key of this partition."""
        encoded = orjson.dumps(value)
        self.data[key] = encoded
        return await bus.produce(self.changelog_topic_name, partition, encoded, key=key)

    def read(self, key: bytes) -> Any:
        """Return the value of a key, or None."""
        encoded = self.data.get(key)
        return None if encoded is None else orjson.loads(encoded)

    def entries(self, partitions: frozenset[int] | None = None) -> Iterator[tuple[str, Any]]:
        """Yield keys and values, of these partitions only if given.

        The memory store keeps entries of partitions that this worker no longer owns.
        """
        for key, encoded in list(self.data.items()):
            if encoded and (partitions is None or partition_of(key) in partitions):
                yield key.decode(), orjson.loads(encoded)


class LineGlobalTable(LineTable, faust.GlobalTable):
    """A table of which every worker holds all entries: that of the published rules."""

    def apply_changelog_batch(self, batch: Iterable[EventT[bytes]]) -> None:
        """Apply entries of the changelog, except those that are no publications."""
        super().apply_changelog_batch(list(filter(self._is_publication, batch)))

    def _is_publication(self, event: EventT[bytes]) -> bool:
        message = event.message
        try:
            check_publication(event.key, message.value)
        except ForeignEntry as error:
            report_foreign(self.changelog_topic_name, message.partition, message.offset, error)
            return False
        return True


class LineTableManager(TableManager):
    """Starts recovery at once. Faust's waits a second for tables that are declared late; a line declares none late."""

    async def on_start(self) -> None:
        """Start recovery of the tables."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()

    @property
    def entries_left(self) -> int:
        """The number of entries of changelogs that are to be read before the tables are recovered."""
        return 0 if self.actives_ready else sum(max(0, left) for left in self.recovery.active_remaining().values())

    @mode.Service.timer(PROGRESS_SECONDS)
    async def _report_progress(self) -> None:
        if left := self.entries_left:
            self.log.info("the tables are being recovered: %d entries are left to read", left)
