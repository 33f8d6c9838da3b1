"""What a worker holds of each topic, in bytes, and whether it takes more: a slow stop slows its own input alone."""

from __future__ import annotations

from collections.abc import Iterable

from faust.types import TP

EACH = 1_024
"""Bytes that a message counts for at least: it is more than its value."""

LEAST = 64 * 1024
"""Bytes that a look at one partition is expected to bring at least: it is known only afterwards what it brought."""


class FetchBudget:
    """Counts the messages that were delivered to an agent and are not acknowledged yet."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: dict[TP, dict[int, int]] = {}
        self._bytes: dict[str, int] = {}
        self._taken: dict[TP, int] = {}
        """What came since the last look."""
        self._expected: dict[str, int] = {}
        """What a look at a partition of the topic brought at most, lately."""
        self._turn = 0

    def take(self, tp: TP, offset: int, size: int) -> None:
        """A message is delivered; delivered again it counts once."""
        held = self._held.setdefault(tp, {})
        self._bytes[tp.topic] = self._bytes.get(tp.topic, 0) - held.get(offset, 0) + max(size, EACH)
        held[offset] = max(size, EACH)
        self._taken[tp] = self._taken.get(tp, 0) + size

    def give_back(self, tp: TP, offset: int) -> None:
        """It is acknowledged."""
        size = self._held.get(tp, {}).pop(offset, 0)
        if size:
            self._bytes[tp.topic] -= size

    def clear(self) -> None:
        """All partitions change hands, and what was delivered comes again."""
        self._held.clear()
        self._bytes.clear()

    def open(self, partitions: Iterable[TP]) -> set[TP]:
        """Those that may be looked at now: of each topic as many as its bytes allow, in turn."""
        by_topic: dict[str, list[TP]] = {}
        for tp in partitions:
            by_topic.setdefault(tp.topic, []).append(tp)
        for tp, size in self._taken.items():
            self._expected[tp.topic] = max(size, self._expected.get(tp.topic, 0))
        self._taken.clear()
        found: set[TP] = set()
        self._turn += 1
        for topic, tps in by_topic.items():
            room = self.limit - self._bytes.get(topic, 0)
            if room <= 0:
                continue
            expected = self._expected[topic] = max(LEAST, self._expected.get(topic, 0))
            self._expected[topic] -= expected // 16  # it is forgotten when less comes
            looks = max(1, room // expected)
            first = self._turn % len(tps)
            tps.sort()
            found.update((tps[first:] + tps[:first])[:looks])
        return found
