"""A message as SQS hands it out, and as it is written to the source topic."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

ID_HEADER = "sqs-message-id"
"""The header with the message id, by which a message that is received again is recognized."""

SENT_HEADER = "sqs-sent-timestamp"
"""The header with the time at which the message was sent to the queue, in milliseconds since the epoch."""

ATTRIBUTES = ("ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "MessageGroupId", "SentTimestamp")
"""The attributes that are asked for."""


class SourceMessage(NamedTuple):
    """A message for the source topic."""

    value: bytes
    key: bytes | None
    spread: int
    """A number that is the same for all messages of a group. Modulo the number of partitions, it is the partition."""
    timestamp: int
    """Milliseconds since the epoch: the time at which the message was first received, which does not change."""
    headers: list[tuple[str, str | bytes | None]]

    @property
    def size(self) -> int:
        """The bytes of key, value and headers."""
        headers = sum(len(name) + len(value or "") for name, value in self.headers)
        return len(self.value) + len(self.key or b"") + headers


@dataclass(slots=True)
class Received:
    """A message that was received and not deleted yet."""

    id: str
    receipt: str
    """The receipt handle of the last time that it was received, with which it can be deleted."""
    first: int
    """The time at which it was first received, in milliseconds since the epoch."""
    count: int
    """The number of times that it was received."""
    source: SourceMessage
    """The message for the source topic."""
    visible_at: float = 0.0
    """The time at which others receive it, unless it is extended, in seconds of the loop's clock."""

    @classmethod
    def of(cls, message: dict[str, Any]) -> Received:
        """Return a message of SQS's answer."""
        known = message.get("Attributes", {})
        first = int(known.get("ApproximateFirstReceiveTimestamp", 0))
        count = int(known.get("ApproximateReceiveCount", 1))
        return cls(message["MessageId"], message["ReceiptHandle"], first, count, _source(message, known, first))


def _source(message: dict[str, Any], known: dict[str, str], first: int) -> SourceMessage:
    """Return a message for the source topic. Message attributes become headers."""
    identity, group = message["MessageId"], known.get("MessageGroupId")
    attributes = message.get("MessageAttributes")
    headers: list[tuple[str, str | bytes | None]] = []
    if attributes:
        headers += [(name, _value(one)) for name, one in sorted(attributes.items())]
    headers += [(SENT_HEADER, known.get("SentTimestamp", "")), (ID_HEADER, identity)]
    key = None if group is None else group.encode()
    value = message.get("Body", "").encode("utf-8", "surrogatepass")
    return SourceMessage(value, key, crc32(identity.encode() if key is None else key), first, headers)


def _value(attribute: dict[str, Any]) -> str | bytes:
    """Return the value of a message attribute: binary ones as they are, all others as text."""
    binary = attribute.get("BinaryValue")
    if isinstance(binary, str):
        return base64.b64decode(binary)
    return binary if isinstance(binary, bytes) else str(attribute.get("StringValue", ""))
