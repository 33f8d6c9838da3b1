"""Partitions as the event loop knows them, and positions as confluent-kafka takes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from aiokafka import TopicPartition
from confluent_kafka import Message
from confluent_kafka import TopicPartition as Position


def partition_of(message: Message) -> TopicPartition:
    """Return the partition of a message."""
    return TopicPartition(message.topic(), message.partition())


def by_partition(messages: Iterable[Message]) -> dict[TopicPartition, list[Message]]:
    """Return messages by their partitions, in the order in which they are given."""
    found: dict[tuple[str | None, int | None], list[Message]] = {}
    for message in messages:
        place = (message.topic(), message.partition())
        of_place = found.get(place)
        if of_place is None:
            found[place] = [message]
        else:
            of_place.append(message)
    return {TopicPartition(*place): of_place for place, of_place in found.items()}


def oldest_of(messages: Iterable[Message]) -> float | None:
    """Return the earliest timestamp of messages, in seconds since the epoch; None if none of them has one."""
    return min((at / 1_000 for _, at in map(Message.timestamp, messages) if at > 0), default=None)


def partitions_at(positions: Collection[Position]) -> set[TopicPartition]:
    """Return the partitions of positions."""
    return {TopicPartition(at.topic, at.partition) for at in positions}


def positions_of(partitions: Collection[TopicPartition]) -> list[Position]:
    """Return partitions as confluent-kafka takes them, without offsets."""
    return [Position(topic, number) for topic, number in partitions]


def names_of(partitions: Iterable[TopicPartition]) -> list[str]:
    """Return partitions as `topic[partition]`, sorted."""
    return sorted(f"{tp.topic}[{tp.partition}]" for tp in partitions)
