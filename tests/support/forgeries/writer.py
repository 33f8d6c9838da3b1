"""Writes forgeries to every topic of a line, in an order that a seed determines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

from confluent_kafka import KafkaException, Producer

from metroline.agents.kafka.topic_admin import DEFAULT_MESSAGE_BYTES, TopicPlan
from metroline.agents.kafka.topics import Topics
from tests.support.forgeries.announcements import forged_announcement
from tests.support.forgeries.envelopes import forged_envelope, forged_kept, forged_letter
from tests.support.forgeries.forgery import Forgery
from tests.support.forgeries.operations import forged_comparison, forged_job, forged_note, forged_tick
from tests.support.forgeries.tables import forged_block, forged_journeys, forged_publication

Forge = Callable[[Random, int], Forgery]
"""Returns a message for a partition."""


def forgers(topics: Topics, partitions: int, stops: tuple[str, ...]) -> dict[str, tuple[int, Forge]]:
    """Return for each topic of a line but the source its number of partitions and what forges messages for it."""
    own: dict[str, Forge] = {
        topics.changelog("outcomes"): forged_block,
        topics.changelog("journeys"): forged_journeys,
        topics.changelog("dead_letters"): forged_journeys,
        topics.changelog("rules"): forged_publication,
        topics.rules: forged_publication,
        topics.workers: lambda random, _: forged_announcement(random, topics.prefix),
        topics.dead_letters: forged_letter,
        topics.journeys: forged_kept,
        topics.delivered: forged_letter,
        topics.replay_jobs: forged_job,
        topics.journal: forged_note,
        topics.worker_journal: forged_note,
        topics.comparisons: forged_comparison,
        topics.schedules: lambda random, _: forged_tick(random),
    }
    plans = topics.plans(partitions, stops, DEFAULT_MESSAGE_BYTES)
    return {plan.name: (plan.partitions, _keyed(own.get(plan.name, forged_envelope), plan)) for plan in plans}


def _keyed(forge: Forge, plan: TopicPlan) -> Forge:
    """Return what forges messages for a topic; a compacted one takes none without a key."""

    def keyed(random: Random, partition: int) -> Forgery:
        forged = forge(random, partition)
        return replace(forged, key=forged.key or b"") if plan.config.get("cleanup.policy") == "compact" else forged

    return keyed


class Forger:
    """Writes messages that nobody asked for."""

    def __init__(self, bootstrap: str, forgers: dict[str, tuple[int, Forge]], seed: int) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 4_000_000})
        self._forgers = forgers
        self._random = Random(seed)
        self.written: Counter[str] = Counter()
        """The number of messages that a broker took, by topic."""

    def write(self, count: int) -> None:
        """Write this many messages, to each topic in turn; return once the brokers have taken or refused them."""
        names = sorted(self._forgers)
        for number in range(count):
            self._write(names[number % len(names)])
        self._producer.flush(30)

    def _write(self, topic: str) -> None:
        partitions, forge = self._forgers[topic]
        partition = self._random.randrange(partitions)
        forged = forge(self._random, partition)

        def answered(error: object, _: object) -> None:
            self.written[topic] += error is None

        try:
            self._producer.produce(
                topic,
                forged.value,
                forged.key,
                partition,
                on_delivery=answered,
                headers=list(forged.headers),
                timestamp=forged.timestamp,
            )
        except (KafkaException, BufferError, ValueError):
            return
        self._producer.poll(0)
