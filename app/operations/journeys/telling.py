"""Tells journeys as timelines, with the rules tables of their time and the records as they entered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from metroline.agents.formats.formats import Formats
from metroline.agents.formats.names import JSON
from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_tail import Place, TopicTail
from metroline.agents.kafka.topics import Topics
from metroline.agents.on_ramp import source_origin
from metroline.agents.services.line import Line
from metroline.app.operations.journeys.ended_journey import EndedJourney
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.settlement import offset_of
from metroline.routing.journeys.timeline import Timeline, timeline
from metroline.routing.messages.record_ids import RecordId
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

    async def tell(self, journeys: Sequence[EndedJourney]) -> list[Timeline]:
        """Return the timelines of journeys. Each source message is read once, and rules are tried in a thread.

        One caller at a time has journeys told.
        """
        async with self._turn:
            messages = await self._source_messages({one for one in map(self._place, journeys) if one is not None})
            told = []
            for journey in journeys:
                place = self._place(journey)
                entered = None if place is None else _record_in(messages.get(place), journey.record_id)
                told.append(await asyncio.to_thread(timeline, journey.envelope, journey.ended, self._tables, entered))
            return told

    def _place(self, journey: EndedJourney) -> Place | None:
        """Return the place of a journey's source message; None if it came from another source than the present one."""
        if journey.origin.name != source_origin(self.settings.source_epoch):
            return None
        return journey.origin.partition, offset_of(journey.record_id)

    async def _source_messages(self, places: Collection[Place]) -> dict[Place, bytes | None]:
        """Return source messages as JSON by their places, without any that are gone or cannot be read."""

        def fetch() -> dict[Place, bytes | None]:
            found = TopicTail(self.cluster, self.topics.source).fetch(places)
            return {(one.partition() or 0, one.offset() or 0): one.value() for one in found}

        try:
            read = await asyncio.to_thread(fetch) if places else {}
        except ClusterError:
            return {}
        return {place: None if value is None else await self._decoded(value) for place, value in read.items()}

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


def _record_in(message: bytes | None, record: RecordId) -> bytes | None:
    """Return a record as it entered, as a line of JSON; None if its message does not hold it."""
    lines = read_message(message)
    place = 0 if isinstance(record, int) else record[1]
    count = 1 if isinstance(record, int) else record[2]
    return lines[place].line if len(lines) == count and lines[place].record is not None else None


def texts_of(versions: Mapping[int, str]) -> TextOf:
    """Return a function that finds the text of a version in a dict."""
    return versions.get
