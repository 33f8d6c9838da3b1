"""The latest pulses of one worker: its counts, how fast they grow, and how old they are. No I/O and no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from metroline.agents.pulses.pulse import Pulse

Key = TypeVar("Key")

STALE_SECONDS = 3.0
"""Time without a pulse after which a worker's figures are stale: two are missing."""

SILENT_SECONDS = 12.0
"""Time without a pulse after which a worker counts as dead, as for its announcements. Others have its partitions."""

RATE_SECONDS = 5.0
"""Stretch of time over which rates are taken."""

TIMES_SECONDS = 30.0
"""Stretch of time over which percentiles are taken."""

KEPT_SECONDS = 5.0
"""Time between two pulses that are kept for percentiles."""

MAX_PULSES = 10
"""Number of pulses that are kept for rates, and for percentiles: a few more than a worker sends in these stretches.
Time alone does not bound them, since anybody may write pulses whose times hardly differ."""

SKEWS = 30
"""Number of pulses of which the least delay tells how far the worker's clock is from ours."""


class WorkerHistory:
    """One process of a worker. A worker that is started again is another one, whose counts begin anew."""

    def __init__(self, pulse: Pulse, now: float, *, is_live: bool) -> None:
        """Take the first pulse at the time `now`, in seconds since the epoch. It may be an old one, read later."""
        self._skews: deque[float] = deque(maxlen=SKEWS)
        self._recent: deque[Pulse] = deque([pulse], maxlen=MAX_PULSES)
        self._kept: deque[Pulse] = deque([pulse], maxlen=MAX_PULSES)
        self._note_skew(pulse, now, is_live=is_live)

    def add(self, pulse: Pulse, now: float, *, is_live: bool) -> None:
        """Take another pulse; leave out one that is repeated."""
        if pulse.at <= self.latest.at:
            return
        self._note_skew(pulse, now, is_live=is_live)
        self._recent.append(pulse)
        while len(self._recent) > 2 and pulse.at - self._recent[1].at >= RATE_SECONDS:
            self._recent.popleft()
        if pulse.at - self._kept[-1].at >= KEPT_SECONDS:
            self._kept.append(pulse)
        while len(self._kept) > 2 and pulse.at - self._kept[1].at >= TIMES_SECONDS:
            self._kept.popleft()

    def _note_skew(self, pulse: Pulse, now: float, *, is_live: bool) -> None:
        """Note how far the clock of the worker is behind ours. Old pulses do not tell it."""
        if is_live:
            self._skews.append(now - pulse.at)

    @property
    def latest(self) -> Pulse:
        """The latest pulse."""
        return self._recent[-1]

    @property
    def skew(self) -> float:
        """Seconds by which the worker's clock is behind ours, with the least delay of a pulse."""
        return min(self._skews, default=0.0)

    def age(self, now: float) -> float:
        """Return the age of the figures."""
        return max(0.0, now - (self.latest.at + self.skew))

    def is_stale(self, now: float) -> bool:
        """Return whether pulses are missing."""
        return self.age(now) > STALE_SECONDS

    def is_silent(self, now: float) -> bool:
        """Return whether the worker counts as dead."""
        return self.age(now) > SILENT_SECONDS

    def rate(self, count: Callable[[Pulse], float]) -> float:
        """Return how fast a count has grown lately, per second."""
        first, last = self._recent[0], self.latest
        seconds = last.at - first.at
        return max(0.0, count(last) - count(first)) / seconds if seconds > 0 else 0.0

    def rates(self, counts: Callable[[Pulse], Mapping[Key, int]]) -> dict[Key, float]:
        """Return how fast each of several counts has grown lately, per second."""
        first, last = self._recent[0], self.latest
        seconds = last.at - first.at
        if seconds <= 0:
            return {}
        before = counts(first)
        return {key: max(0, count - before.get(key, 0)) / seconds for key, count in counts(last).items()}

    def grown(self, count: Callable[[Pulse], float]) -> float:
        """Return by how much a count has grown over the stretch of percentiles."""
        return max(0.0, count(self.latest) - count(self._kept[0]))

    def grown_buckets(self, counts: Callable[[Pulse], Sequence[int]]) -> list[int]:
        """Return by how much each bucket of a histogram has grown over the stretch of percentiles."""
        first, last = counts(self._kept[0]), counts(self.latest)
        before = [*first, *[0] * (len(last) - len(first))]
        return [max(0, after - earlier) for after, earlier in zip(last, before, strict=False)]


def percentile(share: float, bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    """Return the value below which a share of the counted values lies, within its bucket in proportion; None of none.

    What is above the last bound counts as that bound.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0
    for index, count in enumerate(counts):
        if count and below + count >= wanted:
            if index >= len(bounds):
                return bounds[-1]
            lower = bounds[index - 1] if index else 0.0
            return lower + (bounds[index] - lower) * (wanted - below) / count
        below += count
    return bounds[-1]
