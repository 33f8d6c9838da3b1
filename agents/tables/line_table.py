"""Faust tables that are written once per envelope, with every update confirmed before the envelope is acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, cast

import faust
import mode
import orjson
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import EventT
from mode.services import WaitArgT
from mode.utils.times import Seconds

from metroline.agents.delivery.bus import Bus
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.entries import partition_of, version_of
from metroline.agents.tables.published_versions import PublishedVersions, forget_oldest, without_forecasts

PROGRESS_SECONDS = 10.0
"""Time between two lines of the log about a recovery that is under way."""


class _LineApp(Protocol):
    """A Faust app that knows the topics of its line, and counts messages there that are not the line's."""

    line_topics: Topics
    foreign: ForeignMessages


class LineTable(faust.Table[bytes, bytes]):
    """A table whose keys begin with their partition and whose changelog is named without the role.

    Faust does not wait for the changelog of `table[key] = value`, so the source offset could be committed before the
    update is confirmed. `put` returns the confirmation to wait for.
    """

    forgotten = 0
    """The number of entries that were forgotten to bound the memory of the table."""

    def _changelog_topic_name(self) -> str:
        return cast(_LineApp, self.app).line_topics.changelog(self.name)

    async def put(self, bus: Bus, partition: int, key: bytes, value: dict[str, Any]) -> Confirmation:
        """Set the value (anything that JSON can hold) of a key of this partition."""
        encoded = orjson.dumps(value)
        self.data[key] = encoded
        return await bus.produce(self.changelog_topic_name, partition, encoded, key=key)

    def leave_out(self, event: EventT[bytes], reason: object) -> None:
        """Count an entry of the changelog that cannot be one of this table."""
        message = event.message
        foreign = cast(_LineApp, self.app).foreign
        foreign.leave_out(self.changelog_topic_name, message.partition, message.offset, reason)

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
    """A table of which every worker holds all entries: that of the published rules, the latest versions.

    An entry of its changelog says that there is a version. Its publication is read from the topic of the rules.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.published: PublishedVersions | None = None
        """The versions on the topic of the rules; set before the table is recovered."""
        self._verified: dict[int, bytes | None] = {}
        """Publications of entries that are yet to be applied, by the entry's offset; None if there is none."""
        self._without_forecast = 0
        """The version up to which no forecasts are kept."""
        self._asked: set[int] = set()
        """Offsets of entries whose publications are being read."""

    async def put(self, bus: Bus, partition: int, key: bytes, value: dict[str, Any]) -> Confirmation:
        """Set the publication of a version."""
        confirmation = await super().put(bus, partition, key, value)
        self._forget()
        return confirmation

    async def on_changelog_event(self, event: EventT[bytes]) -> None:
        """Find the publication of an entry before it is applied."""
        version, offset = version_of(event.key), event.message.offset
        if version is not None and self.published is not None:
            self._asked.add(offset)
            publication = await self.published.find(version)
            if offset in self._asked:
                self._asked.discard(offset)
                self._verified[offset] = publication
            else:  # a rebalance had it applied in the meantime
                self._apply(event, publication)
        await super().on_changelog_event(event)

    def apply_changelog_batch(self, batch: Iterable[EventT[bytes]]) -> None:
        """Apply entries of the changelog, except those of versions that the topic of the rules does not have.

        Faust applies entries early when the group rebalances, also those whose publications are yet to be read. They
        are applied once they are: Faust would not hand them over again.
        """
        for event in batch:
            if event.message.offset in self._asked:
                self._asked.discard(event.message.offset)
            else:
                self._apply(event, self._verified.pop(event.message.offset, None))
        self._forget()

    def _apply(self, event: EventT[bytes], publication: bytes | None) -> None:
        if publication is None:
            self.leave_out(event, f"there is no version {event.key!r:.100} of the rules")
        else:
            self.data[cast(bytes, event.key)] = publication

    def _forget(self) -> None:
        versions = {int(key): value for key, value in self.data.items()}
        forgotten = forget_oldest(versions)
        for version in forgotten:
            del self.data[str(version).encode()]
        self.forgotten += len(forgotten)
        older = without_forecasts(versions, self._without_forecast)
        for version, encoded in older.items():
            self.data[str(version).encode()] = encoded
        self._without_forecast = max(older, default=self._without_forecast)


class PatientRecovery(Recovery):
    """Waits for the answers of brokers for as long as it takes.

    Faust waits for `broker_request_timeout`, and takes the end of this time for the end of the worker: its recovery
    ends, and the worker runs on without its tables until it is started again.
    """

    async def _wait(self, coro: WaitArgT, timeout: Seconds | None = None) -> None:
        await super()._wait(coro)


PatientRecovery.logger = Recovery.logger  # the log leaves out the steps and the tables of Faust's


class LineTableManager(TableManager):
    """Starts recovery at once. Faust's waits a second for tables that are declared late; a line declares none late."""

    @property
    def recovery(self) -> Recovery:
        """The service that recovers the tables."""
        if self._recovery is None:
            self._recovery = PatientRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

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
