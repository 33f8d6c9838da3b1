"""Watches whether the source topic is still the one that the on-ramp began to read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mode import Service

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.kafka.regularly import regularly
from metroline.agents.on_ramp import SourceRenewed

LOOK_SECONDS = 10.0
"""Time between two looks at the source topic."""


class SourceWatch(Service):
    """Ends the worker once the source topic was deleted and created again.

    The on-ramp alone would notice that only if a partition of the new topic held fewer messages than were read of the
    old one. Otherwise it would go on where it was, and skip all messages before that.
    """

    def __init__(self, topic: str, topic_id: Callable[[], Awaitable[str | None]], epoch: int, **kwargs: Any) -> None:
        """`topic_id` returns the id of the source topic, or None if it does not exist; it raises `ClusterError`."""
        super().__init__(**kwargs)
        self._topic = topic
        self._topic_id = topic_id
        self._epoch = epoch
        self._known: str | None = None
        self._is_missed = False

    async def on_start(self) -> None:
        """Note the id of the topic; raise `ClusterError`."""
        self._known = await self._topic_id()

    @Service.task
    async def _look_regularly(self) -> None:
        async for _ in regularly(self, LOOK_SECONDS):
            try:
                await self.look()
            except ClusterError as error:
                self.log.debug("the source topic could not be looked at, which is tried again: %s", error)
            except SourceRenewed as error:
                await self.crash(error)

    async def look(self) -> None:
        """Look at the topic once; raise `SourceRenewed` if it is another one, or `ClusterError`."""
        found = await self._topic_id()
        if found is None:
            if not self._is_missed:
                self.log.warning("the source topic %s does not exist any more", self._topic)
            self._is_missed = True
            return
        self._is_missed = False
        if self._known is not None and found != self._known:
            raise SourceRenewed(
                f"the source topic {self._topic} has been deleted and created again while it was read: set "
                f"SOURCE_EPOCH to {self._epoch + 1} to have its new records read from the beginning"
            )
        self._known = found
