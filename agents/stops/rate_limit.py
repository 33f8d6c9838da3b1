"""The rate of a stop, as far as it is that of this worker: its calls are spaced evenly."""

from __future__ import annotations

import time
from collections.abc import Callable

CATCH_UP_SECONDS = 0.05
"""Time of which the calls are caught up that could not begin because the event loop was busy."""


class RateLimit:
    """Spaces the calls of this worker evenly (generic cell rate algorithm).

    The rate is divided evenly among the workers that serve the stop. In any time of T seconds, this worker begins at
    most `1 + share * (T + CATCH_UP_SECONDS)` calls.
    """

    def __init__(
        self, per_second: float, sharers: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`sharers` returns the number of workers that share the rate, this one included."""
        self._per_second = per_second
        self._sharers = sharers
        self._clock = clock
        self._latest: float | None = None
        """Time for which the latest call was due; None before the first one."""

    def wait(self) -> float:
        """Return the seconds until a call may begin; 0 or less if one may begin now."""
        return 0.0 if self._latest is None else self._latest + self._interval - self._clock()

    def begin(self) -> None:
        """Count a call that begins now."""
        now = self._clock()
        self._latest = now if self._latest is None else max(self._latest + self._interval, now - CATCH_UP_SECONDS)

    @property
    def _interval(self) -> float:
        """The time between two calls of this worker, in seconds."""
        return max(1, self._sharers()) / self._per_second
