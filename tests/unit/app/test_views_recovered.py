"""The partitions that a worker reports: those that are assigned to it and that it has recovered."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import faust
from faust.types import TP
from mode.signals import Signal

from metroline.app.views.tables.recovered import RecoveredPartitions

TABLE, OTHER = "line.table.outcomes", "line.table.journeys"


class Group:
    """Faust's view of a group while partitions are reassigned."""

    def __init__(self) -> None:
        self.mine: set[TP] = set()
        signals: dict[str, Any] = {
            name: Signal(name=name, default_sender=self) for name in ("on_partitions_assigned", "on_rebalance_complete")
        }
        self.app = SimpleNamespace(assignor=SimpleNamespace(assigned_actives=lambda: set(self.mine)), **signals)
        self.recovered = RecoveredPartitions(cast(faust.App, self.app))

    async def assign(self, *partitions: int) -> None:
        self.mine = {TP(topic, partition) for topic in (TABLE, OTHER) for partition in partitions}
        await self.app.on_partitions_assigned.send(self.mine)

    async def complete(self) -> None:
        await self.app.on_rebalance_complete.send()

    @property
    def partitions(self) -> set[int]:
        return set(self.recovered.partitions(TABLE))


async def test_a_partition_counts_once_its_entries_were_read() -> None:
    group = Group()
    await group.assign(0, 1)
    assert group.partitions == set()
    await group.complete()
    assert group.partitions == {0, 1}


async def test_a_partition_that_stays_is_reported_while_others_move() -> None:
    group = Group()
    await group.assign(0, 1)
    await group.complete()
    await group.assign(1, 2)
    assert group.partitions == {1}
    await group.complete()
    assert group.partitions == {1, 2}


async def test_one_that_went_and_came_back_is_old_until_it_was_read_again() -> None:
    group = Group()
    await group.assign(0, 1)
    await group.complete()
    await group.assign(1)
    await group.assign(0, 1)
    assert group.partitions == {1}
    await group.complete()
    assert group.partitions == {0, 1}


async def test_one_that_is_gone_is_not_reported_even_before_faust_says_so() -> None:
    group = Group()
    await group.assign(0)
    await group.complete()
    group.mine = set()
    assert group.partitions == set()


async def test_tables_are_kept_apart() -> None:
    group = Group()
    group.mine = {TP(OTHER, 5)}
    await group.complete()
    assert group.partitions == set()
    assert group.recovered.partitions(OTHER) == {5}
