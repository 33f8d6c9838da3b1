"""Thousands of malformed messages: each becomes a dead letter or is refused, and all other records arrive."""

from __future__ import annotations

import os
import random
import time
from collections import Counter

import orjson
import pytest

from metroline.agents.kafka.topic_reader import read_topic
from metroline.agents.tables.publication import NotAPublication, Publication
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import InvalidRules, MalformedEnvelope
from metroline.routing.journeys.dead_letters import MALFORMED_ORIGIN
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Decider, Provenance
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Attempts, Segment, Visit
from metroline.routing.outcome import Ending, Outcome
from metroline.routing.records.source_messages import read_message
from metroline.routing.rules.network import Network
from tests.support.delivered import dead_letter_in
from tests.support.depot import RULES, Depot, check_ways, numbered
from tests.support.mutants import mutated

GOOD = 2_000
SOURCE, ENVELOPES, TABLES = 6_000, 3_600, 200


@pytest.fixture
def jitter() -> random.Random:
    seed = int(os.environ.get("SEED", "4"))
    print(f"seed {seed}")
    return random.Random(seed)


def sources(jitter: random.Random) -> list[bytes]:
    """Return source messages that are broken, or nearly so."""
    one = orjson.dumps({"bad": {"text": "some", "list": [1, 2.5, None]}, "m": 1, "size": 12})
    some = b"\n".join([one] * 3)
    return [mutated(jitter, jitter.choice((one, some))) for _ in range(SOURCE)]


def envelope(number: int, partition: int) -> bytes:
    """Return an envelope of records that are not in the source."""
    visit = Visit("weigh", 1.0, "all are weighed", "on-ramp", 1)
    segment = Segment(
        (number, (number + 1, 0, 2)),
        (b'{"n":2}', b'{"n":4}'),
        time.time(),
        history=(visit,),
        chosen=Provenance("heavy ones need the crane", "weigh", 1),
        outcome=Outcome.dropped("not kept") if number % 3 == 0 else None,
        hops=2,
        attempts=Attempts("crane", ("OSError: no",), time.time()) if number % 2 else None,
    )
    return Envelope(("signpost", "conductor", "map_maker")[number % 3], Origin("fuzz", partition), (segment,)).encode()


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # both brokers carry the same malformed messages
@pytest.mark.parametrize("chaining", [pytest.param("off", marks=pytest.mark.long), "stops"])
async def test_broken_messages_on_every_topic_are_letters_and_good_ones_between_them_arrive(
    depot: Depot, jitter: random.Random, chaining: str
) -> None:
    worker = depot.start("conductor", CHAINING=chaining)
    await depot.ready()
    broken = sources(jitter)
    held = [line for message in broken for line in read_message(message)]
    good = numbered(range(GOOD))
    mixed = [message for pair in zip(broken[: len(good)], good, strict=True) for message in pair]
    await depot.push(mixed + broken[len(good) :])

    addresses = [*(ask.value for ask in Decider), "service.weigh", "service.crane", ARRIVALS, "waiting.200ms"]
    pushed: dict[tuple[str, int, int], bytes] = {}
    for address in addresses:
        messages = [
            mutated(jitter, envelope(number, number % depot.partitions))
            for number in range(ENVELOPES // len(addresses))
        ]
        await depot.push(messages, depot.topics.at(address))
    for address in addresses:
        async for message in read_topic(depot.cluster, depot.topics.at(address)):
            if is_malformed(message.value, message.partition):
                pushed[address, message.partition, message.offset] = message.value
    assert len(pushed) > ENVELOPES / 3

    await depot.settled(GOOD + len(held), timeout=120)
    check_ways((one for one in (await depot.journeys()).values() if is_good(one.record)), range(GOOD))
    assert (await depot.counts())[Ending.DEAD] >= sum(line.problem is not None for line in held) > SOURCE / 3
    await depot.until(lambda: has_letters_of(depot, pushed))
    assert "Crashed" not in worker.child.log.read_text()


def is_malformed(value: bytes, partition: int) -> bool:
    try:
        Envelope.decode(value, partition)
    except MalformedEnvelope:
        return True
    return False


def is_good(record: dict[str, object]) -> bool:
    return "bad" not in record and type(record.get("n")) is int


async def has_letters_of(depot: Depot, pushed: dict[tuple[str, int, int], bytes]) -> bool:
    """Return whether each of these messages has a dead letter; fail if one has two."""
    found: Counter[tuple[str, int, int]] = Counter()
    async for message in read_topic(depot.cluster, depot.topics.dead_letters):
        letter = dead_letter_in(message)
        if letter.origin.name.startswith(MALFORMED_ORIGIN):
            address = letter.origin.name.removeprefix(MALFORMED_ORIGIN)
            for segment in letter.segments:
                found.update((address, letter.origin.partition, int(str(one))) for one in segment.ids)
    assert not [where for where, count in found.items() if count > 1]
    return found.keys() >= pushed.keys()


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # both brokers carry the same refused tables
async def test_broken_rules_tables_are_refused_and_records_go_on_by_the_last_good_one(
    depot: Depot, jitter: random.Random
) -> None:
    worker = depot.start()
    await depot.ready()
    current, messages = 1, []
    for number in range(TABLES):
        text = mutated(jitter, RULES.encode()).decode(errors="replace")
        publication = orjson.dumps(Publication(text, current, "a test", 1.0).as_json())
        if number % 4 == 0:
            publication = mutated(jitter, publication)
        messages.append(publication)
        if is_taken(publication, current):
            current = number + 2
    await push_in_order(depot, messages)
    last = len(messages) + 2
    final = orjson.dumps(Publication(RULES, current, "a test", 1.0).as_json())
    await depot.push(numbered(range(GOOD)))
    await depot.settled(GOOD)
    await push_in_order(depot, [final])
    await depot.until(lambda: depot.all_have(last, 1), 120)

    await depot.push(numbered(range(GOOD, 2 * GOOD)))
    await depot.settled(2 * GOOD)
    later = [one for one in (await depot.journeys()).values() if one.record["n"] >= GOOD]
    check_ways(later, range(GOOD, 2 * GOOD))
    assert "Crashed" not in worker.child.log.read_text()


def is_taken(publication: bytes, current: int) -> bool:
    """Return whether the bytes are a publication that replaces this version; its table may be invalid."""
    try:
        return Publication.decode(publication).replaces == current
    except NotAPublication:
        return False


async def push_in_order(depot: Depot, messages: list[bytes]) -> None:
    async with depot.cluster.producer() as producer:
        for message in messages:
            await producer.send_and_wait(depot.topics.rules, message, partition=0)


def test_a_table_that_is_changed_at_random_is_a_table_or_is_refused(jitter: random.Random) -> None:
    refused = 0
    for _ in range(1_000):
        text = mutated(jitter, RULES.encode()).decode(errors="replace")
        try:
            Network.read(text, frozenset({"weigh", "crane", "shelf"}))
        except InvalidRules:
            refused += 1
    assert refused > 300
