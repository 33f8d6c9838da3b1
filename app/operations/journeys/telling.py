"""Tells journeys as timelines, with the rules tables of their time and the records as they entered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from metroline.agents.formats.formats import Formats
from metroline.agents.formats.names import JSON
from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import Topics
from metroline.agents.on_ramp import source_origin
from metroline.agents.services.line import Line
from metroline.app.operations.journeys.ended_journey import EndedJourney
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.settlement import offset_of
from metroline.routing.journeys.timeline import Timeline, timeline
from metroline.routing.messages.record_ids import Origin, RecordId
from metroline.routing.records.source_messages import read_message
from metroline.routing.rules.table import RulesTable

MAX_TABLES = 8
"""Number of rules tables that are kept parsed."""

TextOf = Callable[[int], str | None]
"""Returns the text of a published version of the rules; None if there is none."""


class TablesOfTheTime:
    """The rules tables by their versions, parsed when they are asked for."""

    def __init__(self, line: Line, text_of: TextOf) -> None:
        self._line = line
        self._text_of = text_of
        self._parsed: dict[int, RulesTable | None] = {}

    def __call__(self, version: int) -> RulesTable | None:
        """Return the table of a version; for 0 that of the line's file, as it is now; None if it cannot be used."""
        if version not in self._parsed:
            if len(self._parsed) >= MAX_TABLES:
                self._parsed.pop(next(iter(self._parsed)))
            self._parsed[version] = self._parse(version)
        return self._parsed[version]

    def _parse(self, version: int) -> RulesTable | None:
        try:
            if not version:
                return self._line.rules_table()
            text = self._text_of(version)
            return None if text is None else RulesTable.parse(text, version, ends=self._line.ends)
        except MetrolineError:
            return None


class JourneyTeller:
    """Makes timelines."""

    def __init__(self, cluster: Cluster, topics: Topics, settings: Settings, line: Line, text_of: TextOf) -> None:
        self.cluster = cluster
        self.topics = topics
        self.settings = settings
        self.line = line
        self._tables = TablesOfTheTime(line, text_of)
        self._turn = asyncio.Lock()

    async def tell(self, journey: EndedJourney) -> Timeline:
        """Return the timeline of a journey. Rules are tried in a thread, one journey at a time."""
        entered = await self._entered(journey.origin, journey.record_id)
        async with self._turn:
            return await asyncio.to_thread(timeline, journey.envelope, journey.ended, self._tables, entered)

    async def _entered(self, origin: Origin, record: RecordId) -> bytes | None:
        """Return the record as it entered, as a line of JSON; None if its message is gone or cannot be read."""
        if origin.name != source_origin(self.settings.source_epoch):
            return None
        try:
            value = await asyncio.to_thread(self._source_message, (origin.partition, offset_of(record)))
        except ClusterError:
            return None
        value = None if value is None else await self._decoded(value)
        lines = read_message(value)
        place = 0 if isinstance(record, int) else record[1]
        count = 1 if isinstance(record, int) else record[2]
        return lines[place].line if len(lines) == count and lines[place].record is not None else None

    def _source_message(self, place: tuple[int, int]) -> bytes | None:
        for message in TopicTail(self.cluster, self.topics.source).fetch([place]):
            return message.value()
        return None

    async def _decoded(self, value: bytes) -> bytes | None:
        """Return a message of the source as JSON; None if it cannot be read, or the schema registry is away."""
        format = self.settings.format_of_source(self.line)
        if format[0] == JSON:
            return value
        formats = Formats(self.settings.registry_access())
        try:
            decoder = formats.decoder_for_once(*format)
            decoded = None if decoder is None else await decoder.decode([value])
        except MetrolineError:
            return None
        finally:
            await formats.close()
        return None if decoded is None or decoded.problems else decoded.values[0]


def texts_of(versions: Mapping[int, str]) -> TextOf:
    """Return a function that finds the text of a version in a dict."""
    return versions.get
