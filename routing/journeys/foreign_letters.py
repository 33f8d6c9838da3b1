"""Dead letters of other systems, by their headers: Kafka Connect (KIP-298), Kafka Streams (KIP-1034), Spring for Kafka.

Each is a message of some topic that could not be handled, as it was, with headers about the error besides its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.dead_letter_messages import CONNECT, LETTER_HEADER, STREAMS

SPRING = "kafka_dlt-"
"""Prefix of the headers of Spring's `DeadLetterPublishingRecoverer`."""

OWN_OF_SPRING = (SPRING, "retry_topic-", "springDeserializerException")
"""The beginnings of all headers that Spring adds to a message that failed."""

BINARY_OF_SPRING = ("original-partition", "original-offset", "original-timestamp")
"""The headers of Spring that are numbers."""

MAX_TEXT = 100_000
"""Number of characters of a text in a header that are read: a stack trace may have many."""

MAX_REASON = 100
"""Number of characters of a message by which letters are grouped."""

Headers = Sequence[tuple[str, bytes | None]]


class NotAForeignLetter(MetrolineError):
    """Raised for a message without the headers of a dead letter, or with headers that cannot be read."""


class ForeignLetter(NamedTuple):
    """A dead letter of another system."""

    system: str
    """`Kafka Connect`, `Kafka Streams` or `Spring`."""
    topic: str
    """The topic of its message, to which it is replayed."""
    partition: int | None
    offset: int | None
    error: str
    """The class of the exception."""
    message: str
    stage: str
    """The place at which it failed: the stage and the connector of Connect, or the consumer group of Spring."""
    stacktrace: str
    headers: tuple[tuple[str, bytes | None], ...]
    """The headers of the message itself."""

    @property
    def cause(self) -> tuple[str, ...]:
        """The parts that tell causes apart: the topic, the stage, the class, and the message without its details."""
        return self.topic, self.stage, self.error, general(self.message)

    @property
    def group(self) -> str:
        """The id of its group: six hexadecimal digits."""
        return blake2b("\0".join(self.cause).encode(errors="replace"), digest_size=3).hexdigest()


def general(message: str) -> str:
    """Return the message of an exception without the numbers and quotations by which those of one cause differ."""
    words: list[str] = []
    for word in message.split():
        is_detail = any(letter.isdigit() for letter in word) or word[0] in "'\"`"
        if not (is_detail and words and words[-1] == "…"):
            words.append("…" if is_detail else word)
    return " ".join(words)[:MAX_REASON]


def read_foreign(headers: Headers) -> ForeignLetter:
    """Return the dead letter that the headers of a message tell of; raise `NotAForeignLetter`."""
    names = {name for name, _ in headers}
    if LETTER_HEADER in names:
        raise NotAForeignLetter("it is a dead letter of a line of Metroline: replay it with that line")
    if f"{SPRING}original-topic" in names:
        return _of_spring(headers)
    if f"{CONNECT}topic" in names:
        return _of_connect(headers)
    if f"{STREAMS}topic" in names:
        return _of_streams(headers)
    raise NotAForeignLetter("it has no headers of Kafka Connect, Kafka Streams or Spring that name its topic")


def _of_connect(headers: Headers) -> ForeignLetter:
    told = _texts(CONNECT, headers)
    stage = " of ".join(filter(None, (told("stage"), told("connector.name"))))
    error, message, stack = told("exception.class.name"), told("exception.message"), told("exception.stacktrace")
    own = _without(headers, (CONNECT,))
    place = _decimal(told("partition")), _decimal(told("offset"))
    return ForeignLetter("Kafka Connect", _topic(told("topic")), *place, error, message, stage, stack, own)


def _of_streams(headers: Headers) -> ForeignLetter:
    told = _texts(STREAMS, headers)
    place = _decimal(told("partition")), _decimal(told("offset"))
    error = told("exception").partition(":")[0]
    own = _without(headers, (STREAMS,))
    return ForeignLetter(
        "Kafka Streams", _topic(told("topic")), *place, error, told("message"), "", told("stacktrace"), own
    )


def _of_spring(headers: Headers) -> ForeignLetter:
    told = _texts(SPRING, headers)
    first = dict(reversed(headers))  # one that died again behind its own dead letter topic has several
    place = _big_endian(first.get(f"{SPRING}original-partition")), _big_endian(first.get(f"{SPRING}original-offset"))
    error = told("exception-cause-fqcn") or told("exception-fqcn")
    own = _without(headers, OWN_OF_SPRING)
    topic = _topic(_text(first.get(f"{SPRING}original-topic")))
    group, stack = told("original-consumer-group"), told("exception-stacktrace")
    return ForeignLetter("Spring", topic, *place, error, told("exception-message"), group, stack, own)


def _texts(prefix: str, headers: Headers) -> Callable[[str], str]:
    """Return a function that returns the text of the last header with a name after this prefix."""
    named = dict(headers)
    return lambda name: _text(named.get(f"{prefix}{name}"))


def _text(value: bytes | None) -> str:
    return (value or b"")[: 4 * MAX_TEXT].decode(errors="replace")[:MAX_TEXT]


def _topic(name: str) -> str:
    is_topic = 0 < len(name) < 250 and all(
        letter.isascii() and (letter.isalnum() or letter in "._-") for letter in name
    )
    if not is_topic or name in (".", ".."):
        raise NotAForeignLetter(f"its header names no topic: {name[:100]!r}")
    return name


def _decimal(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _big_endian(value: bytes | None) -> int | None:
    """Return the number that Spring writes as an int or a long of Java."""
    found = int.from_bytes(value, "big", signed=True) if value is not None and len(value) in (4, 8) else -1
    return found if found >= 0 else None


def shown_error(name: str, value: bytes | None) -> str:
    """Return a header of an error as text: Spring writes some numbers in binary."""
    number = _big_endian(value) if name.startswith(SPRING) and name.removeprefix(SPRING) in BINARY_OF_SPRING else None
    return _text(value) if number is None else str(number)


def _without(headers: Headers, prefixes: tuple[str, ...]) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((name, value) for name, value in headers if not name.startswith(prefixes))
