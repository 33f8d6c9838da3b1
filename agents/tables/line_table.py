"""Faust tables that are written once per envelope, with every update confirmed before the envelope is acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import faust
import orjson
from faust.tables.manager import TableManager
from faust.types import TP, EventT

from metroline.agents.kafka.topics import Topics

if TYPE_CHECKING:
    from metroline.agents.delivery.bus import Bus, Confirmation


def partition_of(key: bytes) -> int:
    """The partition of a key, which begins with it."""
    return int(key.partition(b"/")[0])


def epoch_of(entry: bytes | None) -> int:
    """The epoch in which an entry of an `OwnedTable` was written; 0 for none."""
    return 0 if entry is None else int(orjson.loads(entry).get("epoch", 0))


class LineTable(faust.Table[bytes, bytes]):
    """A table whose keys begin with the partition and whose changelog is named without the role.

    Faust writes the changelog of `table[key] = value` without waiting for it, so the source offset may be committed
    before it is; `put` gives the confirmation to wait for.
    """

    def _changelog_topic_name(self) -> str:
        topics: Topics = cast(Any, self.app).line_topics
        return topics.changelog(self.name)

    async def put(self, bus: Bus, partition: int, key: bytes, value: dict[str, Any]) -> Confirmation:
        """Sets a value (anything that JSON holds) for a key of this partition."""
        encoded = orjson.dumps(value)
        self.data[key] = encoded
        return await bus.produce(self.changelog_topic_name, partition, encoded, key=key)

    def read(self, key: bytes) -> Any:
        """The value of a key, or None."""
        encoded = self.data.get(key)
        return None if encoded is None else orjson.loads(encoded)

    def entries(self, partitions: frozenset[int] | None = None) -> Iterator[tuple[str, Any]]:
        """Keys and values, of these partitions only: the memory store keeps what it wrote for partitions now lost."""
        for key, encoded in list(self.data.items()):
            if encoded and (partitions is None or partition_of(key) in partitions):
                yield key.decode(), orjson.loads(encoded)


class OwnedTable(LineTable):
    """A table each partition of which one worker owns: what a former owner writes late is overruled.

    A worker that stood still does not know that it is no longer in its group, and no broker refuses what it has yet
    to send to a changelog. So each owner has an epoch, higher than what it has read there and than that of any owner
    before it; its entries carry it, and whoever reads the changelog keeps, for each key, the last of the highest epoch.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.epochs: dict[int, int] = {}
        """Per partition that this worker owns."""
        self._highest: dict[int, int] = {}
        self._overruled: set[bytes] = set()
        """Keys whose last entry in the changelog is not the one that counts."""
        self._read: dict[bytes, bytes | None] = {}
        """What was read from the changelog of those keys that were set since."""

    async def put(self, bus: Bus, partition: int, key: bytes, value: dict[str, Any]) -> Confirmation:
        """Sets a value for a key of this partition, in the owner's epoch."""
        epoch = self.epochs.get(partition, 0)
        self._highest[partition] = max(epoch, self._highest.get(partition, 0))
        self._read.setdefault(key, self.data.get(key))
        return await super().put(bus, partition, key, value | {"epoch": epoch})

    def apply_changelog_batch(self, batch: Iterable[EventT[bytes]]) -> None:
        """Takes entries from the changelog, without those that were written late."""
        kept: dict[bytes, EventT[bytes]] = {}
        for event in batch:
            key, epoch = cast(bytes, event.key), epoch_of(event.message.value)
            before = kept[key].message.value if key in kept else self.data.get(key)
            if epoch < epoch_of(before):
                self._overruled.add(key)
                continue
            self._overruled.discard(key)
            partition = event.message.partition
            self._highest[partition] = max(epoch, self._highest.get(partition, 0))
            kept[key] = event
        super().apply_changelog_batch(kept.values())

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Owns nothing until the changelogs are read, from where they were read to the last time."""
        self.epochs.clear()
        for key, entry in self._read.items():
            self.data.pop(key, None)
            if entry is not None:
                self.data[key] = entry
        self._read.clear()
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Begins an epoch in every partition that this worker owns now.

        The group's generation counts up with each rebalance: of two owners that read the same, the later one is higher.
        """
        generation = max(0, self.app.consumer_generation_id)
        for partition in {tp.partition for tp in active_tps}:
            self.epochs[partition] = self._highest.get(partition, 0) + 1 + generation
        await super().on_recovery_completed(active_tps, standby_tps)

    async def restore(self, bus: Bus) -> None:
        """Writes what was overruled again, so that the last entry of each key is the one that counts.

        A changelog is compacted to its last entries; until then (see `Topics.plan`) all of them are there.
        """
        for key in [key for key in self._overruled if partition_of(key) in self.epochs]:
            self._overruled.discard(key)
            await self.put(bus, partition_of(key), key, self.read(key))


class LineGlobalTable(LineTable, faust.GlobalTable):
    """A table of which every worker holds the whole."""


class LineTableManager(TableManager):
    """Begins at once: Faust waits a second for tables that are yet to be named, and ours are all there by now."""

    async def on_start(self) -> None:
        """Called when the worker starts."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()
