"""Finds where a record is whose journey is not kept: in the source, at a stop, in a waiting room, or at its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import orjson
from aiokafka import TopicPartition

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import ROUTERS, Topics
from metroline.agents.membership.hand_over import Offsets, highest_committed
from metroline.agents.membership.roles import group_prefix
from metroline.agents.on_ramp import source_origin
from metroline.agents.services.schedule import schedule_origin
from metroline.agents.tables.entries import epoch_of, owned_entry
from metroline.app.markup.numbers import counted
from metroline.app.markup.times import iso
from metroline.app.operations.journeys.archive import Wanted
from metroline.routing.addresses import ARRIVALS, WAITING_ROOMS, is_service, service_address, stop_of
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.block_checks import check_block
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, SettledBlock, block_key, mark_of
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin, RecordId
from metroline.routing.messages.segment import Segment

LOOK_SECONDS = 10.0
"""Time for which the topics of stops and waiting rooms are searched."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The place of a record, in one sentence, and its kind."""

    kind: str
    """`source`, `under_way`, `ended`, `lost`, `none` (it never came) or `other_source`."""
    text: str
    stop: str | None = None
    """The stop at which the record is or for which it waits, if it was found on its way there."""
    since: float | None = None
    """When it was sent there, in seconds since the epoch."""


async def whereabouts(
    cluster: Cluster,
    topics: Topics,
    stops: Collection[str],
    wanted: Wanted,
    epoch: int = 0,
    schedules: Collection[str] = (),
) -> Whereabouts:
    """Return where a record is; `epoch` is that of the source, and `stops` and `schedules` are those of the line.

    Raise `ClusterError` if the cluster does not answer.
    """
    if wanted.name in map(schedule_origin, schedules):
        return await _of_schedule(cluster, topics, stops, wanted, epoch)
    if wanted.name != source_origin(epoch):
        return Whereabouts("other_source", f"the ids of this source begin with {source_origin(epoch)}-")
    source = TopicPartition(topics.source, wanted.partition)
    count = (await TopicAdmin(cluster).partitions([topics.source])).get(topics.source, 0)
    if wanted.partition >= count:
        return Whereabouts("none", f"the topic {topics.source} has no partition {wanted.partition}: it has {count}")
    end = (await TopicAdmin(cluster).high_watermarks([source]))[source]
    if wanted.offset >= end:
        return Whereabouts("none", f"it never came: partition {wanted.partition} of {topics.source} ends before it")
    block = await asyncio.to_thread(_block, cluster, topics, wanted)
    if (ended := _ended(block, wanted)) is not None:
        return ended
    committed = await _committed(cluster, topics, stops, wanted.partition, epoch)
    found = await asyncio.to_thread(_under_way, cluster, topics, stops, wanted, committed)
    if found is not None:
        return found
    read = committed.get(source, 0)
    if wanted.offset >= read:
        before = wanted.offset - read
        return Whereabouts(
            "source",
            f"it waits in {topics.source}, {before} messages behind those that are done, or it is under way in the "
            "worker that reads this partition",
        )
    return Whereabouts("under_way", "it is under way, and on none of the topics of the stops at this moment")


async def _of_schedule(
    cluster: Cluster, topics: Topics, stops: Collection[str], wanted: Wanted, epoch: int
) -> Whereabouts:
    """Return where the record of a tick is."""
    ended = _ended(await asyncio.to_thread(_block, cluster, topics, wanted), wanted)
    if ended is not None:
        return ended
    committed = await _committed(cluster, topics, stops, wanted.partition, epoch)
    found = await asyncio.to_thread(_under_way, cluster, topics, stops, wanted, committed)
    return found or Whereabouts("none", "no record of this tick is on the topics of the line at this moment")


def _ended(block: SettledBlock | None, wanted: Wanted) -> Whereabouts | None:
    """Return what the counted outcomes say of a record; None if it has none."""
    if block is None:
        return None
    place = wanted.offset % BLOCK_OFFSETS
    partial = block.partial.get(place)
    if place in block.lost:
        return Whereabouts("lost", "it was deleted from the source before the line read it")
    if place not in block.whole and (partial is None or wanted.index is None or wanted.index not in partial[1]):
        return None
    record: RecordId = wanted.offset if wanted.index is None else (wanted.offset, wanted.index, wanted.index + 2)
    mark = mark_of(record)
    if mark is not None and mark in block.dead:
        return Whereabouts("ended", "it is a dead letter, but was deleted from the topic of the dead letters")
    return Whereabouts(
        "ended", "it was delivered or dropped, and its journey was not kept: it was not in the sample, or is too old"
    )


def _block(cluster: Cluster, topics: Topics, wanted: Wanted) -> SettledBlock | None:
    """Return the counted outcomes of the block of a record."""
    key = block_key(Origin(wanted.name, wanted.partition), wanted.offset // BLOCK_OFFSETS)
    latest: bytes | None = None
    for messages in TopicTail(cluster, topics.changelog("outcomes")).read({wanted.partition}):
        for message in messages:
            if message.key() != key:
                continue
            try:
                epoch, value = owned_entry(key, message.value(), wanted.partition)
                check_block(key.decode(), value)
            except MetrolineError:
                continue
            if epoch >= epoch_of(latest):
                latest = cast(bytes, message.value())
    return None if latest is None else SettledBlock.decode(orjson.loads(latest))


async def _committed(cluster: Cluster, topics: Topics, stops: Collection[str], partition: int, epoch: int) -> Offsets:
    """Return the highest offset that the groups of the line have committed, for a partition of each topic."""
    async with cluster.admin() as admin:
        names = {name for name, *_ in await admin.list_consumer_groups()}
    own = {topics.on_ramp_group(epoch), topics.waiting_group}
    groups = sorted(name for name in names if name in own or name.startswith(group_prefix(topics.prefix)))
    read = [topics.source, *map(topics.at, _addresses(stops))]
    return await highest_committed(cluster, groups, [TopicPartition(topic, partition) for topic in read])


def _addresses(stops: Collection[str]) -> Sequence[str]:
    """Return the addresses at which a record under way may be."""
    return (*map(service_address, sorted(stops)), *ROUTERS, *WAITING_ROOMS, ARRIVALS)


def _under_way(
    cluster: Cluster, topics: Topics, stops: Collection[str], wanted: Wanted, committed: Offsets
) -> Whereabouts | None:
    """Return where the record is on an inner topic, from what is acknowledged on; None if it is on none of them."""
    until = time.monotonic() + LOOK_SECONDS
    latest: tuple[float, str, Segment] | None = None
    for address in _addresses(stops):
        begin = committed.get(TopicPartition(topics.at(address), wanted.partition), 0)
        for at, segment in _on_topic(cluster, topics.at(address), wanted, begin, until):
            if latest is None or (segment.hops, at) >= (latest[2].hops, latest[0]):
                latest = at, address, segment
    if latest is None:
        return None
    at, address, segment = latest
    return Whereabouts("under_way", _told(address, segment), stop_of(address) if is_service(address) else None, at)


def _told(address: str, segment: Segment) -> str:
    if is_service(address):
        failed = len(segment.attempts.causes) if segment.attempts and segment.attempts.stop == stop_of(address) else 0
        return (
            f"it waits at the stop {stop_of(address)}, or its service works on it"
            + _asked_so_far(segment, stop_of(address))
            + (f"; attempts that failed there: {failed}" if failed else "")
        )
    if address in WAITING_ROOMS:
        stop = segment.attempts.stop if segment.attempts else "its stop"
        return f"it waits in the waiting room {address} for its next attempt at {stop}{_asked_so_far(segment, stop)}"
    return "it is on its way to the arrivals" if address == ARRIVALS else f"it waits for the {address}"


def _asked_so_far(segment: Segment, stop: str) -> str:
    """Return since when and how often a record has waited at a stop, and the progress that its service reported."""
    waits = segment.waits
    if waits is None or waits.stop != stop:
        return ""
    progress = f": {waits.progress}" if waits.progress else ""
    return f"; {counted(waits.times, 'wait')} there since {iso(waits.since)}{progress}"


def _on_topic(
    cluster: Cluster, topic: str, wanted: Wanted, begin: int, until: float
) -> Iterator[tuple[float, Segment]]:
    """Yield the segments with the record on a topic from an offset on, each with the time of its message."""
    tail, mark = TopicTail(cluster, topic), str(wanted.offset).encode()
    tail.begin_at({wanted.partition: begin})
    for messages in tail.read({wanted.partition}):
        for message in messages:
            value = message.value() or b""
            if mark in value.partition(b"\n")[0]:
                yield from ((message.timestamp()[1] / 1_000, segment) for segment in _with(value, wanted))
        if time.monotonic() > until:
            return


def _with(value: bytes, wanted: Wanted) -> Iterator[Segment]:
    try:
        envelope = Envelope.decode(value)
    except MetrolineError:
        return
    name, partition = envelope.origin
    for segment in envelope.segments:
        if segment.request is None and any(wanted.is_at(name, partition, record) for record in segment.ids):
            yield segment
