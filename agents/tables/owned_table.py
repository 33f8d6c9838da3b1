"""A table in which each partition has one owner, fenced by epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from faust.types import TP, EventT

from metroline.agents.delivery.bus import Bus
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.tables.entries import MAX_EPOCH, epoch_of, owned_entry, partition_of
from metroline.agents.tables.line_table import LineTable
from metroline.routing.errors import MetrolineError

Check = Callable[[str, dict[str, Any]], None]
"""Raises `MetrolineError` if a key and a value cannot be an entry of a table."""


class OwnedTable(LineTable):
    """A table in which each partition has one owner: entries that a former owner writes late are overruled.

    A worker that stood still does not know that it left its group, and no broker refuses what it still sends to a
    changelog. So each owner has an epoch, higher than every epoch that it read in the changelog and than that of
    earlier owners. Its entries carry the epoch, and readers of the changelog keep, for each key, the last entry of the
    highest epoch.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.check: Check = lambda key, value: None
        """Checks the entries of this table that are read from its changelog."""
        self.epochs: dict[int, int] = {}
        """The epoch of each partition that this worker owns."""
        self._highest: dict[int, int] = {}
        """The highest epoch that was read or written, by partition."""
        self._overruled: set[bytes] = set()
        """Keys whose last entry in the changelog is not the one that counts."""
        self._before_put: dict[bytes, bytes | None] = {}
        """The entries from the changelog of keys that were set since."""

    async def put(self, bus: Bus, partition: int, key: bytes, value: dict[str, Any]) -> Confirmation:
        """Set the value of a key of this partition, in the owner's epoch."""
        epoch = self.epochs.get(partition, 0)
        self._highest[partition] = max(epoch, self._highest.get(partition, 0))
        self._before_put.setdefault(key, self.data.get(key))
        return await super().put(bus, partition, key, value | {"epoch": epoch})

    def apply_changelog_batch(self, batch: Iterable[EventT[bytes]]) -> None:
        """Apply entries of the changelog, except those that were written late or that no worker wrote."""
        kept: dict[bytes, EventT[bytes]] = {}
        for event in batch:
            key, message = cast(bytes, event.key), event.message
            try:
                epoch, value = owned_entry(key, message.value, message.partition)
                self.check(key.decode(), value)
            except MetrolineError as error:
                self.leave_out(event, error)
                continue
            before = kept[key].message.value if key in kept else self.data.get(key)
            if epoch < epoch_of(before):
                self._overruled.add(key)
                continue
            self._overruled.discard(key)
            self._highest[message.partition] = max(epoch, self._highest.get(message.partition, 0))
            kept[key] = event
        super().apply_changelog_batch(kept.values())

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Give up ownership, and undo what was set since the changelog was read: recovery reads on from there."""
        self.epochs.clear()
        for key, entry in self._before_put.items():
            self.data.pop(key, None)
            if entry is not None:
                self.data[key] = entry
        self._before_put.clear()
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Begin an epoch in every partition that this worker owns now.

        The group's generation increases with each rebalance: of two owners that read the same entries, the later one
        gets the higher epoch. One at the limit of epochs, which only a stranger reaches, has no higher one: then the
        last entry of each key counts.
        """
        generation = max(0, self.app.consumer_generation_id)
        for partition in {tp.partition for tp in active_tps}:
            self.epochs[partition] = min(self._highest.get(partition, 0) + 1 + generation, MAX_EPOCH - 1)
        await super().on_recovery_completed(active_tps, standby_tps)

    async def restore(self, bus: Bus) -> None:
        """Write overruled keys again, so that the last entry of each key is the one that counts.

        A changelog is compacted to the last entry of each key; until then (see `Topics.plans`) all entries are there.
        """
        for key in [key for key in self._overruled if partition_of(key) in self.epochs]:
            self._overruled.discard(key)
            await self.put(bus, partition_of(key), key, self.read(key))
