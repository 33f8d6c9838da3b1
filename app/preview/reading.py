"""Reads what a line remembers, for a preview: journeys, dead letters, and the messages that some of them came in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import msgspec
import orjson
from aiokafka.structs import ConsumerRecord
from msgspec import Struct

from metroline.agents.formats.names import JSON
from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_reader import read_topic
from metroline.agents.kafka.topic_tail import Place, TopicTail
from metroline.agents.kafka.topics import Topics
from metroline.agents.on_ramp import source_origin
from metroline.agents.services.line import Line
from metroline.agents.tables.entries import owned_entry
from metroline.app.markup.numbers import counted
from metroline.app.operations.desk import Desk
from metroline.app.operations.rules_topic import PublishedRules, published_versions
from metroline.app.preview.preview import Followed, Preview, preview
from metroline.app.preview.seen import Seen
from metroline.app.preview.under_way import read_under_way
from metroline.app.preview.ways import NewTable, UnderWay, Unknown, turned
from metroline.app.settings import Settings
from metroline.routing.errors import InvalidRules, MetrolineError
from metroline.routing.journeys.summary import StoredJourney
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import id_of
from metroline.routing.records.source_messages import read_message
from metroline.routing.rules.table import RulesTable

MAX_JOURNEYS = 100_000
"""Number of the latest journeys, and of the dead letters, about which a preview decides."""

MAX_SOURCE_MESSAGES = 2_000
"""Number of source messages that are read for decisions that cannot be made without them."""

SOURCE_SECONDS = 3.0
"""Time after which no more source messages are read."""

BY_FILE = 0
"""The version of a table that was never published: that of the line's file, by which `hard_wired` decides."""


class NothingPublished(MetrolineError):
    """Raised when a line has no published table that a new one could replace."""


class _Entry(Struct):
    """An entry of the table `journeys`."""

    entries: list[StoredJourney]


@dataclass(frozen=True, slots=True)
class Remembered:
    """The journeys and dead letters that a line remembers, and the tables that decided about them."""

    current: PublishedRules
    versions: Mapping[int, RulesTable]
    journeys: list[Seen]
    letters: list[Seen]
    under_way: list[UnderWay]
    unseen: list[str]
    times: Mapping[int, float] = field(default_factory=dict)
    """The time at which each version was published, in seconds since the epoch."""


async def read_remembered(settings: Settings, line: Line, topics: Topics, limit: int = MAX_JOURNEYS) -> Remembered:
    """Read the tables, the latest journeys and the dead letters of a line from its topics.

    Raise `NothingPublished` if no table was published yet.
    """
    cluster = settings.cluster()
    published = [one async for one in published_versions(cluster, topics)]
    if not published:
        raise NothingPublished(f"the line {topics.prefix!r} has no published table at {settings.broker_url}")
    journeys, earlier = await _journeys(cluster, topics, limit)
    letters, more = await _letters(Desk(cluster, topics), limit)
    under_way, is_cut = await read_under_way(cluster, topics, tuple(sorted(line.stops)), limit)
    tables = dict(_tables(published, line))
    unseen = list(_unseen(journeys, earlier, more, is_cut=is_cut))
    times = {one.version: one.publication.at for one in published}
    return Remembered(published[-1], tables, journeys, letters, under_way, unseen, times)


async def preview_of(
    settings: Settings, line: Line, topics: Topics, table: RulesTable, remembered: Remembered
) -> Preview:
    """Return the preview of a table, with the source messages that its decisions need."""
    ends = frozenset(line.options.outside)
    new = NewTable(table, remembered.versions, settings.max_hops, remembered.times, ends)
    followed = [(seen, new.follow(seen)) for seen in remembered.journeys]
    problem = await _with_sources(settings, line, topics, new, followed)
    letters = [(seen, new.follow(seen)) for seen in remembered.letters]
    unseen = [*remembered.unseen, *([problem] if problem else [])]
    current = remembered.versions.get(remembered.current.version)
    waiting = remembered.under_way if current is not None else []
    ahead = [(one, *turned(current or table, table, one, settings.max_hops, ends)) for one in waiting]
    return preview(new, remembered.current.version, followed, letters, unseen, ahead)


def _tables(published: list[PublishedRules], line: Line) -> Iterator[tuple[int, RulesTable]]:
    """Yield the tables that can be read, with their versions."""
    for version, text in [(BY_FILE, line.rules_text), *((one.version, one.text) for one in published)]:
        try:
            yield version, RulesTable.parse(text, version, ends=line.ends)
        except InvalidRules:  # the workers refused it, too
            continue


async def _journeys(cluster: Cluster, topics: Topics, limit: int) -> tuple[list[Seen], int]:
    """Return the latest journeys, newest first, and the number of earlier ones."""
    found: dict[tuple[str, float], Seen] = {}
    async for message in read_topic(cluster, topics.changelog("journeys")):
        for stored in _stored(message):
            seen = Seen.of_journey(stored)
            if seen is not None:
                found[seen.id, seen.settled] = seen
    latest = sorted(found.values(), key=lambda seen: seen.settled, reverse=True)
    return latest[:limit], max(0, len(latest) - limit)


def _stored(message: ConsumerRecord) -> list[StoredJourney]:
    """Return the journeys in an entry of the changelog; none if no worker of the line can have written it."""
    try:
        _, value = owned_entry(message.key, message.value, message.partition)
        return msgspec.convert(value, _Entry).entries
    except (MetrolineError, msgspec.ValidationError):
        return []


async def _letters(desk: Desk, limit: int) -> tuple[list[Seen], int]:
    """Return the dead letters that are records, and the number of those beyond the limit."""
    found: list[Seen] = []
    read = in_all = 0
    try:
        for group in await desk.groups():
            in_all += group.count
            if read >= limit:
                continue
            async for letters in desk.chosen([], group.id):
                read += len(letters)
                found += [Seen.of_letter(letter) for letter in letters if letter.is_replayable]
                if read >= limit:
                    break
    finally:
        await desk.close()
    return found[:limit], max(0, in_all - read) + max(0, len(found) - limit)


def _unseen(journeys: list[Seen], earlier: int, more_letters: int, *, is_cut: bool) -> Iterator[str]:
    yield "what services will do with the records that are under way, and records that wait in the source"
    if is_cut:
        yield "more records that are under way"
    if journeys:
        yield "most journeys of a busy line: it remembers 3 a second of each partition, which stand for the others"
    else:
        yield "the ways of records: the line remembers no journeys yet"
    if earlier:
        yield f"{counted(earlier, 'earlier journey')}: the preview is of the latest {len(journeys):,}"
    if more_letters:
        yield f"{counted(more_letters, 'more dead letter')}"
    by_file = sum(any(chosen.version == BY_FILE and chosen.rule for chosen in seen.shape.way) for seen in journeys)
    if by_file:
        yield f"the strategy hard_wired, by which {by_file:,} of the journeys went: no published table changes it"


async def _with_sources(
    settings: Settings, line: Line, topics: Topics, new: NewTable, followed: list[Followed]
) -> str | None:
    """Follow journeys again that could not be followed, with their source messages; return what was not read."""
    needed = [place for place, (_, way) in enumerate(followed) if way.unknown not in (None, Unknown.VERSION)]
    if not needed:
        return None
    name = settings.format_of_source(line)[0]
    if name != JSON:
        return f"the messages of the source, which are in the format {name}: only those in JSON are read"
    places = {place: _place_of(followed[place][0].id, source_origin(settings.source_epoch)) for place in needed}
    wanted = dict([(place, found) for place, found in places.items() if found is not None][:MAX_SOURCE_MESSAGES])
    tail = TopicTail(settings.cluster(), topics.source)
    try:
        messages = await asyncio.to_thread(_fetched, tail, {(partition, at) for partition, at, _ in wanted.values()})
    except ClusterError as error:
        return f"the messages of the source: {error}"
    for place, (partition, at, index) in wanted.items():
        if (found := messages.get((partition, at))) is not None:
            seen = _with_source(followed[place][0], *found, index)
            followed[place] = seen, new.follow(seen)
    unread = len(needed) - sum((partition, at) in messages for partition, at, _ in wanted.values())
    told = f"{counted(unread, 'message')} of the source that decisions need: not there any more, or beyond what is read"
    return told if unread else None


def _place_of(name: str, origin: str) -> tuple[int, int, int] | None:
    """Return partition, offset and line of a record in its source topic; None if it did not come from there."""
    try:
        found, offset, index = id_of(name)
    except MetrolineError:
        return None
    return (found.partition, offset, index or 0) if found.name == origin else None


def _fetched(tail: TopicTail, places: Collection[Place]) -> dict[Place, tuple[bytes, Metadata]]:
    """Return the value and the metadata of source messages, of as many as can be read in `SOURCE_SECONDS`."""
    found: dict[Place, tuple[bytes, Metadata]] = {}
    deadline = time.monotonic() + SOURCE_SECONDS
    for message in tail.fetch(places):
        value, key = message.value(), message.key()
        headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
        metadata = Metadata.of([key], [headers], [message.timestamp()[1]])
        if value is not None:
            found[message.partition() or 0, message.offset() or 0] = value, metadata
        if time.monotonic() > deadline:
            break
    return found


def _with_source(seen: Seen, value: bytes, metadata: Metadata, index: int) -> Seen:
    """Return a journey with the record as it came in."""
    lines = list(read_message(value))
    if index >= len(lines) or lines[index].record is None:
        return seen
    return replace(seen, source=orjson.dumps(lines[index].record), metadata=metadata)
