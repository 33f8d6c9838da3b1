"""Partitions as the event loop knows them, and positions as confluent-kafka takes them."""

from __future__ import annotations

from collections.abc import Collection

from aiokafka import TopicPartition
from confluent_kafka import Message
from confluent_kafka import TopicPartition as Position


def partition_of(message: Message) -> TopicPartition:
    """Return the partition of a message."""
    return TopicPartition(message.topic(), message.partition())


def partitions_at(positions: Collection[Position]) -> set[TopicPartition]:
    """Return the partitions of positions."""
    return {TopicPartition(at.topic, at.partition) for at in positions}


def positions_of(partitions: Collection[TopicPartition]) -> list[Position]:
    """Return partitions as confluent-kafka takes them, without offsets."""
    return [Position(topic, number) for topic, number in partitions]
