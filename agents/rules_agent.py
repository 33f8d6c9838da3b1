"""The agent that applies published rules to the GlobalTable `rules`, of which every worker has a copy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from uuid import uuid4

import orjson
from faust.streams import Stream

from metroline.agents.delivery.acknowledgements import batches_of
from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.tables.line_table import LineTable
from metroline.agents.tables.live_rules import LiveRules
from metroline.agents.tables.publication import NotAPublication, Publication

log = logging.getLogger(__name__)


class RulesAgent:
    """Applies each publication that names the current version as the one it replaces.

    Any other publication is ignored, so that two people cannot overwrite each other's changes unnoticed.
    """

    def __init__(
        self, agent_loop: AgentLoop, table: LineTable, rules: LiveRules, foreign: ForeignMessages | None = None
    ) -> None:
        """`foreign` counts the messages that are no publications."""
        self.agent_loop = agent_loop
        self.foreign = foreign or ForeignMessages()
        self.bus = agent_loop.bus
        self.table = table
        self.rules = rules

    async def run(self, stream: Stream[bytes]) -> None:
        """Apply every publication on the rules topic."""
        with self.agent_loop.tracking() as tracker:
            async for event in stream.noack().events():
                unit = await tracker.track(event)
                if unit is not None:
                    for batch in batches_of(event):
                        for offset, value in zip(batch.offsets, batch.values, strict=True):
                            await self._apply(offset + 1, value, unit)
                    unit.release()

    async def _apply(self, version: int, value: bytes, unit: UnitOfWork) -> None:
        try:
            publication = Publication.decode(value)
        except NotAPublication as error:
            self.foreign.leave_out(self.bus.topics.rules, 0, version - 1, error)
            return
        latest = self.rules.latest
        if version <= latest:
            return
        if publication.replaces != latest:
            log.log(
                logging.INFO if self._is_repeated(publication) else logging.WARNING,
                "version %d of the rules table is ignored: it replaces version %d, but version %d is current",
                version,
                publication.replaces,
                latest,
            )
            return
        unit.follow(await self.table.put(self.bus, 0, str(version).encode(), publication.as_json()))

    def _is_repeated(self, publication: Publication) -> bool:
        """Return whether another worker published the same file first, as happens where several start together."""
        first = self.table.read(b"1")
        return publication.replaces == 0 and first is not None and Publication.of_json(first).text == publication.text


async def publish_first(bus: Bus, text: str, clock: Callable[[], float]) -> None:
    """Publish the line's file as the first version. If several workers do so, the first publication counts."""
    publication = Publication(text, 0, "the line's file", clock())
    await (await bus.produce(bus.topics.rules, 0, orjson.dumps(publication.as_json()), key=uuid4().bytes))
