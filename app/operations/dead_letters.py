"""The dead letters of a line, read from the bus, and requests to the arrivals to reopen them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence

import orjson

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_reader import read_topic
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.outcomes import read_outcomes_table
from metroline.app.operations.letter import DeadLetterError, Group, Letter
from metroline.routing.addresses import ARRIVALS
from metroline.routing.journeys.dead_letter_messages import read_dead_letter
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, SettledBlock, block_key, offset_of
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import id_of

MAX_REQUEST_BYTES = 8 * 1024 * 1024


class DeadLetters:
    """Reads the records that are dead now, and asks the arrivals to reopen some of them."""

    def __init__(self, cluster: Cluster, topics: Topics) -> None:
        self.cluster = cluster
        self.topics = topics

    async def read(self) -> list[Letter]:
        """Return all letters that were neither replayed nor discarded, in the order in which they were settled."""
        blocks = await self._blocks()
        found: dict[str, Letter] = {}
        async for message in read_topic(self.cluster, self.topics.dead_letters):
            envelope, settled = read_dead_letter(message.value, message.key, message.headers, message.timestamp)
            for letter in _letters(envelope, settled, blocks):
                found.setdefault(letter.id, letter)
        return sorted(found.values(), key=lambda letter: letter.settled)

    async def _blocks(self) -> dict[bytes, SettledBlock]:
        entries = await read_outcomes_table(self.cluster, self.topics)
        return {key: SettledBlock.decode(orjson.loads(value)) for key, value in entries.items()}

    async def send(self, requests: Sequence[Envelope], rate: float) -> AsyncIterator[int]:
        """Send requests to the arrivals in order, `rate` per second. Yield the number that is confirmed so far."""
        async with self.cluster.producer(max_request_size=MAX_REQUEST_BYTES) as producer:
            began = time.monotonic()
            for number, request in enumerate(requests):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                topic, partition = self.topics.at(ARRIVALS), request.origin.partition
                await producer.send_and_wait(topic, request.encode(), partition=partition)
                yield number + 1


def _letters(envelope: Envelope, settled: float, blocks: dict[bytes, SettledBlock]) -> Iterable[Letter]:
    """Yield a letter for each record of an envelope that is still dead."""
    for segment in envelope.segments:
        for place, record in enumerate(segment.ids):
            block = blocks.get(block_key(envelope.origin, offset_of(record) // BLOCK_OFFSETS))
            if block is not None and block.is_dead(record, segment.generation):
                yield Letter(Envelope(envelope.strategy, envelope.origin, (segment.part([place]),)), settled)


def grouped(letters: Iterable[Letter]) -> list[Group]:
    """Return the letters by cause, the largest group first."""
    groups: dict[str, Group] = {}
    for letter in letters:
        group = groups.setdefault(letter.group, Group(letter.group, letter.cause, letter.reason))
        group.letters.append(letter)
    return sorted(groups.values(), key=lambda group: -len(group.letters))


def chosen(letters: Sequence[Letter], ids: Sequence[str], group: str | None) -> list[Letter]:
    """Return the letters with these ids, or those of a group. Raise `DeadLetterError` if one is not there."""
    if group is not None:
        found = [letter for letter in letters if letter.group == group]
        if not found:
            groups = ", ".join(one.id for one in grouped(letters)) or "no dead letters"
            raise DeadLetterError(f"there is no group {group!r}; there are {groups}")
        return found
    by_id = {letter.id: letter for letter in letters}
    for name in ids:
        if name not in by_id:
            id_of(name)  # refuses what is not an id at all
            raise DeadLetterError(f"{name} is no dead letter: it has another outcome, is under way, or never came")
    return [letter for letter in letters if letter.id in ids]
