"""The partitions whose entries this worker holds and has recovered."""

from __future__ import annotations

from typing import Any

import faust
from faust.types import TP


class RecoveredPartitions:
    """Tracks the partitions that are assigned to this worker and whose entries it has read back in full.

    The memory store keeps the entries of a partition that was taken away. When that partition comes back, its entries
    are out of date until they are read again; those of a partition that stayed are valid all the time.
    """

    def __init__(self, app: faust.App) -> None:
        self._app = app
        self._read_back: frozenset[TP] = frozenset()
        app.on_partitions_assigned.connect(self._on_assigned)
        app.on_rebalance_complete.connect(self._on_complete)

    def partitions(self, topic: str) -> frozenset[int]:
        """Return the partitions of a changelog."""
        return frozenset(tp.partition for tp in self._read_back & self._assigned if tp.topic == topic)

    @property
    def _assigned(self) -> frozenset[TP]:
        return frozenset(self._app.assignor.assigned_actives())

    def _on_assigned(self, *_: Any, **__: Any) -> None:
        self._read_back &= self._assigned

    def _on_complete(self, *_: Any, **__: Any) -> None:
        self._read_back = self._assigned
