"""A circuit breaker: a stop whose calls all fail pauses, and tries from time to time whether they succeed again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from metroline.routing.messages.record_ids import Origin, RecordId

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 5.0, 60.0
"""Length of the first pause, and of the longest one. A pause is twice as long as the one before it."""

LOOK_SECONDS = 0.25
"""Time after which whoever waits for the result of a probe looks again."""

Record = tuple[Origin, RecordId]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class CircuitBreaker:
    """Pauses a stop once several records in a row have failed. See `Release It!` by Nygard for the pattern.

    After a pause, one call is a probe: if it succeeds, the stop continues, and otherwise it pauses again, for twice as
    long. Attempts of one record count once, so that a single record that cannot be handled does not pause the stop.
    """

    stop: str
    records: int
    """Number of different records that must fail in a row."""
    clock: Callable[[], float] = time.monotonic
    pauses: int = 0
    """Number of pauses since the process started. Those of failed probes are not counted again."""
    _failed: set[Record] = field(default_factory=set)
    """The records that failed since the last call that succeeded."""
    _since: float | None = None
    """Time at which the first one of the pauses began that followed one another; None if the stop is not paused."""
    _seconds: float = 0.0
    _until: float = 0.0
    _is_probing: bool = False
    _last_error: str = ""

    @property
    def is_paused(self) -> bool:
        """True from the beginning of a pause until a call succeeds."""
        return self._since is not None

    @property
    def reason(self) -> str | None:
        """A sentence that says since when and why the stop is paused; None if it is not."""
        if self._since is None:
            return None
        seconds = self.clock() - self._since
        return f"paused for {seconds:.0f} s, since all calls failed, the last one with {self._last_error}"

    def wait(self) -> float:
        """Return the seconds until a call may begin; 0 or less if one may begin now."""
        if not self.is_paused:
            return 0.0
        return LOOK_SECONDS if self._is_probing else self._until - self.clock()

    def remaining(self) -> float:
        """Return the seconds until the next probe."""
        return max(self._until - self.clock(), LOOK_SECONDS)

    def begin(self) -> None:
        """Note that a call begins. It is the probe if the stop is paused."""
        self._is_probing = self.is_paused

    def succeeded(self) -> None:
        """Note a call that succeeded: the stop continues."""
        if self._since is not None:
            log.warning("the stop %s continues after a pause of %.0f s", self.stop, self.clock() - self._since)
        self._since, self._is_probing = None, False
        self._failed.clear()

    def answered(self) -> None:
        """Note a call whose failure is that of its record. It says nothing about others."""
        self._is_probing = False

    def failed(self, record: Record, error: str) -> None:
        """Note a call that failed with this error."""
        self._last_error = error[:200]
        if self._since is None:
            self._failed.add(record)
            if len(self._failed) >= self.records:
                self._pause()
        elif self._is_probing:
            self._is_probing = False
            self._seconds = min(2 * self._seconds, MAX_PAUSE_SECONDS)
            self._until = self.clock() + self._seconds
            log.info("the stop %s is still paused, for %g s more: %s", self.stop, self._seconds, self._last_error)

    def _pause(self) -> None:
        self._since = self.clock()
        self._seconds = FIRST_PAUSE_SECONDS
        self._until = self._since + self._seconds
        self.pauses += 1
        log.warning(
            "the stop %s pauses, since %d records in a row failed, the last one with %s: it tries one again in %g s",
            self.stop,
            len(self._failed),
            self._last_error,
            self._seconds,
        )
        self._failed.clear()
