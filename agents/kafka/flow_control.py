"""Bounds the bytes that a worker holds of each topic, so that a slow stop only slows its own input."""

from __future__ import annotations

from collections.abc import Iterable

from faust.types import TP

MIN_MESSAGE_BYTES = 1_024
"""Bytes that a message counts for at least: it takes more memory than its value."""

MIN_FETCH_BYTES = 64 * 1024
"""Bytes that a fetch of one partition is expected to return at least; the true size is known only afterwards."""


class FetchBudget:
    """Counts the bytes of the messages that were delivered to an agent and are not acknowledged yet."""

    def __init__(self, limit: int) -> None:
        """Take the limit of each topic, in bytes."""
        self.limit = limit
        self._held: dict[TP, dict[int, int]] = {}
        self._bytes: dict[str, int] = {}
        self._fetched: dict[TP, int] = {}
        """Bytes that were delivered since the last call of `fetchable`."""
        self._expected: dict[str, int] = {}
        """Per topic, the most bytes that a fetch of one of its partitions returned lately."""
        self._turn = 0

    def take(self, tp: TP, offset: int, size: int) -> None:
        """Count a message that is delivered. One that is delivered again counts once."""
        held = self._held.setdefault(tp, {})
        self._bytes[tp.topic] = self._bytes.get(tp.topic, 0) - held.get(offset, 0) + max(size, MIN_MESSAGE_BYTES)
        held[offset] = max(size, MIN_MESSAGE_BYTES)
        self._fetched[tp] = self._fetched.get(tp, 0) + size

    def give_back(self, tp: TP, offset: int) -> None:
        """Stop counting a message, which was acknowledged."""
        size = self._held.get(tp, {}).pop(offset, 0)
        if size:
            self._bytes[tp.topic] -= size

    def clear(self) -> None:
        """Forget all messages: partitions were reassigned, and what was delivered comes again."""
        self._held.clear()
        self._bytes.clear()

    def fetchable(self, partitions: Iterable[TP]) -> set[TP]:
        """Return the partitions to fetch from now: of each topic as many as its budget allows, in rotation."""
        by_topic: dict[str, list[TP]] = {}
        for tp in partitions:
            by_topic.setdefault(tp.topic, []).append(tp)
        for tp, size in self._fetched.items():
            self._expected[tp.topic] = max(size, self._expected.get(tp.topic, 0))
        self._fetched.clear()
        found: set[TP] = set()
        self._turn += 1
        for topic, tps in by_topic.items():
            room = self.limit - self._bytes.get(topic, 0)
            if room <= 0:
                continue
            expected = self._expected[topic] = max(MIN_FETCH_BYTES, self._expected.get(topic, 0))
            self._expected[topic] -= expected // 16  # decays if fetches return less
            fetches = max(1, room // expected)
            first = self._turn % len(tps)
            tps.sort()
            found.update((tps[first:] + tps[:first])[:fetches])
        return found
