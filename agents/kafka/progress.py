"""The progress of a partition: what is read and what is confirmed, batch by batch."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from metroline.agents.kafka.producer import Confirmation


@dataclass(slots=True)
class Progress:
    """The open batches of a partition in order, each with the offset after its last message."""

    batches: deque[tuple[int, Confirmation]] = field(default_factory=deque)
    done: int | None = None
    """The next offset to commit; None before the first batch is confirmed."""
    committed: int | None = None
    """The offset that was committed last."""

    def add(self, next_offset: int, confirmation: Confirmation) -> None:
        """Add a batch that is done once it is confirmed."""
        self.batches.append((next_offset, confirmation))

    def advance(self) -> None:
        """Advance `done` past the confirmed batches at the head."""
        while self.batches and self.batches[0][1].done():
            if self.batches[0][1].cancelled() or self.batches[0][1].exception() is not None:
                return
            self.done = self.batches.popleft()[0]

    async def wait_for_room(self, max_batches: int) -> None:
        """Wait until fewer than `max_batches` are open."""
        while len(self.batches) >= max_batches:
            await asyncio.wait([self.batches[0][1]])
            self.advance()

    def to_commit(self) -> int | None:
        """Return the next offset to commit, or None if it is committed already."""
        self.advance()
        return self.done if self.done != self.committed else None
