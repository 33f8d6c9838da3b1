"""A unit of work: everything that is made from one message of the bus, or from one look at the source."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from metroline.agents.kafka.producer import Confirmation
from metroline.routing.messages.envelope import Envelope

Pack = tuple[str, Envelope, Callable[[Envelope, "UnitOfWork"], Awaitable[None]], int]
"""An envelope that goes on in memory: its address, the envelope, the handler at the address, and the number of changes
of the worker's places at which it may be handled there."""

DRAIN_SECONDS = 1.0
"""Maximum time for a unit of work while the worker is stopping or losing partitions."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class WorkTime:
    """The time that units of work may take."""

    clock: Callable[[], float]
    """Returns seconds since the epoch."""
    seconds: float = 5.0
    """Maximum time for a unit of work, in seconds. What has not begun by then goes back to the bus."""
    is_draining: bool = False
    """True while units of work should end soon, since the worker is stopping or losing partitions."""

    @property
    def limit(self) -> float:
        """The maximum time at present, in seconds."""
        return min(self.seconds, DRAIN_SECONDS) if self.is_draining else self.seconds


class UnitOfWork:
    """Counts what was made from a message and is not confirmed yet, and reports when everything is.

    Whoever creates a unit holds it and releases it once. Everybody else holds it before its holder releases it. A unit
    with something that failed is never complete, so its message comes again.
    """

    __slots__ = ("_completed", "_has_failed", "_is_discarded", "_open", "taken_at", "time", "under_way")

    def __init__(
        self, time: WorkTime, completed: Callable[[], None] | None = None, taken_at: float | None = None
    ) -> None:
        """Begin a unit; `completed` is called once everything is confirmed.

        `taken_at` is the time at which its work began, in seconds since the epoch. Default: now.
        """
        self.time = time
        self.taken_at = time.clock() if taken_at is None else taken_at
        self._is_discarded = False
        self.under_way: deque[Pack] | None = None
        """Packs that go on in memory while somebody handles them one after the other."""
        self._completed = completed
        self._open = 1
        self._has_failed = False

    @property
    def is_complete(self) -> bool:
        return not self._open

    @property
    def is_discarded(self) -> bool:
        """True if its message comes again, since partitions were reassigned: what has not begun may be left out."""
        return self._is_discarded

    def discard(self) -> None:
        """Note that its message comes again."""
        self._is_discarded = True

    def is_over(self, now: float) -> bool:
        """Return whether the time for this unit is up; `now` is in seconds since the epoch."""
        return now > self.taken_at + self.time.limit

    def restart(self) -> None:
        """Begin the time for this unit now. Its message waited until there was room for it."""
        self.taken_at = self.time.clock()

    def hold(self) -> None:
        """Keep the unit open until `release` is called."""
        self._open += 1

    def release(self) -> None:
        """Undo one `hold`. The last one completes the unit."""
        self._open -= 1
        if not self._open:
            self.complete()

    def follow(self, confirmation: Confirmation) -> None:
        """Hold the unit until a confirmation arrives. If it fails, the unit is never complete."""
        self._open += 1
        confirmation.add_done_callback(self._followed)

    def fail(self, error: BaseException) -> None:
        """Log that the unit is never complete, once for each unit."""
        if not self._has_failed:
            self._has_failed = True
            log.error("cannot acknowledge %s, which will be handled again", self, exc_info=error)

    def complete(self) -> None:
        """Act on the confirmation of everything; called once."""
        if self._completed is not None:
            self._completed()

    def __str__(self) -> str:
        return "a unit of work"

    def _followed(self, confirmation: Confirmation) -> None:
        if confirmation.cancelled():
            return
        error = confirmation.exception()
        if error is None:
            self.release()
        else:
            self.fail(error)


class JointWork(UnitOfWork):
    """Work on records of several units that travel together. All of these stay open until it is complete."""

    __slots__ = ("_units",)

    def __init__(self, units: Collection[UnitOfWork]) -> None:
        """Begin with the time of the oldest of the units, of which there is at least one."""
        oldest = min(units, key=lambda unit: unit.taken_at)
        super().__init__(oldest.time, taken_at=oldest.taken_at)
        self._units = units
        for unit in units:
            unit.hold()

    @property
    def is_discarded(self) -> bool:
        """True if all messages of the units come again."""
        return all(unit.is_discarded for unit in self._units)

    def complete(self) -> None:
        """Release the units."""
        for unit in self._units:
            unit.release()

    def fail(self, error: BaseException) -> None:
        """Have each of the units fail."""
        for unit in self._units:
            unit.fail(error)


def confirmed_unit(time: WorkTime, taken_at: float | None = None) -> tuple[UnitOfWork, Confirmation]:
    """Return a unit and a confirmation that is done once the unit is complete. It never is if something failed."""
    confirmation: Confirmation = asyncio.get_running_loop().create_future()

    def confirm() -> None:
        if not confirmation.done():
            confirmation.set_result(None)

    return UnitOfWork(time, confirm, taken_at), confirmation
