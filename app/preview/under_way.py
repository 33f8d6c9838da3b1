"""Reads the records that are under way from the topics of the line: those that were written and have no outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiokafka.structs import ConsumerRecord

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_reader import read_topics
from metroline.agents.kafka.topics import ROUTERS, Topics
from metroline.agents.tables.outcomes import read_blocks
from metroline.app.preview.ways import UnderWay
from metroline.routing.addresses import WAITING_ROOMS, is_service, service_address, stop_of
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, SettledBlock, offset_of
from metroline.routing.messages.envelope import Envelope, by_partition
from metroline.routing.messages.record_ids import Origin, RecordId, id_text
from metroline.routing.messages.segment import Segment

Blocks = Mapping[tuple[int, str, int], SettledBlock]
"""The settled records by partition, name of the origin and number of the block."""

Order = tuple[int, int, int]
"""The order of the messages of one record: its generation, the stops that it visited, and its hops."""


async def read_under_way(
    cluster: Cluster, topics: Topics, stops: tuple[str, ...], limit: int
) -> tuple[list[UnderWay], bool]:
    """Return the records that are under way, and whether there may be more of them.

    A record that stops of one worker hand on in memory is seen where it was written last.
    """
    addresses = (*map(service_address, stops), *ROUTERS, *WAITING_ROOMS)
    found: dict[tuple[Origin, RecordId], tuple[Order, UnderWay]] = {}
    is_cut = False
    async for message in read_topics(cluster, [topics.at(address) for address in addresses]):
        if len(found) >= 2 * limit:  # some of them have their outcome by now
            is_cut = True
            break
        for key, order, one in _records(message, topics.address(message.topic)):
            if key not in found or found[key][0] < order:
                found[key] = order, one
    blocks = await read_blocks(cluster, topics)
    waiting = [one for key, (order, one) in found.items() if _is_open(blocks, *key, order[0])]
    return waiting[:limit], is_cut or len(waiting) > limit


def _records(message: ConsumerRecord, address: str) -> Iterator[tuple[tuple[Origin, RecordId], Order, UnderWay]]:
    """Yield the records in a message; none if it is no envelope."""
    try:
        envelope = Envelope.decode(message.value or b"")
    except (MetrolineError, LookupError, TypeError, ValueError):
        return
    for origin, segments in by_partition(envelope.origin, envelope.segments):
        for segment in segments:
            place = _stop(segment, address)
            if place is None or segment.outcome is not None or segment.request is not None:
                continue
            stop, is_handled = place
            visited = len(segment.history) + (stop != segment.last_stop)
            order = segment.generation, len(segment.history), segment.hops
            for at, record in enumerate(segment.ids):
                metadata = segment.metadata and segment.metadata.part([at])
                name = id_text(origin, record)
                one = UnderWay(name, stop, is_handled, segment.lines[at], segment.entered, visited, metadata)
                yield (origin, record), order, one


def _stop(segment: Segment, address: str) -> tuple[str, bool] | None:
    """Return the stop at which records wait, and whether its service has handled them; None if it is not known."""
    if is_service(address):
        return stop_of(address), segment.is_handled
    if address in WAITING_ROOMS:
        waits = segment.attempts or segment.waits
        return None if waits is None else (waits.stop, segment.is_handled)
    return segment.last_stop, True


def _is_open(blocks: Blocks, origin: Origin, record: RecordId, generation: int) -> bool:
    """Return whether a record of this generation has no outcome yet."""
    block = blocks.get((origin.partition, origin.name, offset_of(record) // BLOCK_OFFSETS))
    return block is None or (block.generation(record) == generation and not block.is_settled(record))
