"""Whether this worker surely is in its group: one that stood still may have lost its partitions unheard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from routing.errors import MetrolineError

SURE = 0.9
"""How much of a session after its last heartbeat a worker relies on: what it writes takes a moment to be written."""

LOOK = 0.05
"""Seconds between two looks whether the brokers have answered."""


class LeftBehind(MetrolineError):
    """Raised when a worker was taken for gone while it had something to write that only the owner may write."""


class Membership:
    """Noted by the consumer's thread, asked by who writes what another owner would overwrite, or be overwritten by.

    A table's entry is such: of two workers that hold a partition, one without knowing that it no longer does, the
    last to write wins, and what the other one settled would be lost. No broker refuses that write.
    """

    def __init__(
        self, session: float, crash: Callable[[BaseException], Awaitable[None]], clock: Callable[[], float]
    ) -> None:
        """`session` is in seconds; `crash` ends this worker; `clock` must not be set back: `time.monotonic`."""
        self.term = 0
        """Counts up when this worker joins anew and when it hears that it is no longer in its group."""
        self.clock = clock
        self._session = session
        self._crash = crash
        self._sure_until = 0.0
        self._ended = False

    def joined(self) -> None:
        """Called when partitions were given to this worker."""
        self.term += 1
        self.heard(self.clock())

    def heard(self, sent: float) -> None:
        """Called when a heartbeat that was sent at this time was answered."""
        self._sure_until = sent + SURE * self._session

    def lost(self) -> None:
        """Called when the brokers no longer know this worker."""
        self.term += 1
        self._sure_until = 0.0

    async def holds(self, term: int) -> bool:
        """Whether what was begun in this term may be written; waits while that is not known.

        Where it may not, this worker ends: what it has in memory is not what the table says. Started anew, it reads
        the table and what it had not acknowledged again.
        """
        while not self._ended and term == self.term and self.clock() >= self._sure_until:  # noqa: ASYNC110  # told by a thread
            await asyncio.sleep(LOOK)
        if not self._ended and term != self.term:
            self._ended = True
            await self._crash(
                LeftBehind(
                    f"this worker was taken for gone with outcomes yet to be counted: others count them now. Start it "
                    f"anew; if it did not stand still, give it a longer BROKER_SESSION_TIMEOUT ({self._session:g} s)"
                )
            )
        return not self._ended

    def watch(self, coordinator: Any) -> None:
        """Hears what aiokafka's coordinator of the group hears (0.14; it tells nobody by itself)."""
        beat, complete, reset = coordinator._do_heartbeat, coordinator._on_join_complete, coordinator.reset_generation

        async def heartbeat() -> bool:
            sent = self.clock()
            answered: bool = await beat()
            if answered:
                self.heard(sent)
            return answered

        async def join_complete(*told: Any) -> None:
            self.joined()
            await complete(*told)

        def reset_generation() -> None:
            self.lost()
            reset()

        coordinator._do_heartbeat = heartbeat
        coordinator._on_join_complete = join_complete
        coordinator.reset_generation = reset_generation
