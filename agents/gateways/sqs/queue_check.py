"""Finds out, without a worker, what keeps a queue from being the source or an end of a line. Nothing is changed there.

A right is tried with a call that SQS never carries out: with a receipt handle that is none, too many messages, or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metroline.agents.gateways.outside_end import MissingExtra
from metroline.agents.gateways.sqs.batches import MOST
from metroline.agents.gateways.sqs.client import SqsAway, SqsClient, SqsForbidden, SqsRefused, opened
from metroline.agents.gateways.sqs.options import QueueOptions, SqsSource

SECONDS = 10.0
"""Time for the answers of a queue."""

LEAST_VISIBILITY = 5
"""Visibility timeout in seconds below which a moment of no answer has messages handed out twice."""

MADE_UP = [{"Id": "0", "ReceiptHandle": "metroline-check"}]

RECEIVE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "sqs:ReceiveMessage": ("receive_message", {"MaxNumberOfMessages": MOST + 1, "VisibilityTimeout": 0}),
    "sqs:DeleteMessage": ("delete_message_batch", {"Entries": MADE_UP}),
    "sqs:ChangeMessageVisibility": (
        "change_message_visibility_batch",
        {"Entries": [MADE_UP[0] | {"VisibilityTimeout": 0}]},
    ),
}
"""The calls that try the rights to receive."""

SEND: Mapping[str, tuple[str, Mapping[str, Any]]] = {"sqs:SendMessage": ("send_message_batch", {"Entries": []})}
"""The call that tries the right to send."""


@dataclass(frozen=True, slots=True)
class QueueProblem:
    """A reason why a queue cannot be used, or not well."""

    text: str
    is_fatal: bool = True
    """False if messages are received all the same."""


@dataclass(frozen=True, slots=True)
class QueueFound:
    """A queue that answered."""

    attributes: Mapping[str, str]
    lacking: tuple[str, ...]
    """The rights that the user lacks."""


async def source_problems(options: SqsSource, topic: str, config: Mapping[str, str]) -> list[QueueProblem]:
    """Return what is wrong with a queue as the source; `config` has the settings of the source topic, as far as known.

    The line receives from the queue if no problem is fatal.
    """
    found = await _asked(options, RECEIVE, needs_attributes=True)
    if isinstance(found, str):
        return [QueueProblem(found)]
    problem = _unusable(options, found)
    if problem is not None:
        return [QueueProblem(problem)]
    seconds = int(found.attributes.get("VisibilityTimeout", 30))
    texts = [*_of_visibility(options.queue, seconds), *_of_topic(topic, config, seconds)]
    return [QueueProblem(text, is_fatal=False) for text in texts]


async def end_problem(options: QueueOptions) -> str | None:
    """Return why records would wait for a queue; None if it takes them, as far as can be told without sending one."""
    found = await _asked(options, SEND, needs_attributes=False)
    problem = found if isinstance(found, str) else _unusable(options, found)
    return None if problem is None else f"records wait: {problem}"


async def _asked(
    options: QueueOptions, rights: Mapping[str, tuple[str, Mapping[str, Any]]], *, needs_attributes: bool
) -> QueueFound | str:
    """Return what a queue answers, or why it cannot be used."""
    try:
        async with asyncio.timeout(SECONDS), opened(options, len(rights)) as client:
            attributes = await _attributes(client, needs_attributes=needs_attributes)
            allowed = await asyncio.gather(*(_allows(client, call, told) for call, told in rights.values()))
    except (MissingExtra, SqsAway, SqsRefused) as error:
        return str(error)
    except TimeoutError:
        return f"the queue {options.queue} did not answer within {SECONDS:g} s"
    return QueueFound(attributes, tuple(right for right, may in zip(rights, allowed, strict=True) if not may))


async def _attributes(client: SqsClient, *, needs_attributes: bool) -> Mapping[str, str]:
    """Return the attributes of a queue; an end has no use for the right to read them."""
    try:
        found = await client.call("get_queue_attributes", AttributeNames=["All"])
    except SqsForbidden:
        if needs_attributes:
            raise
        return {}
    attributes: Mapping[str, str] = found.get("Attributes", {})
    return attributes


async def _allows(client: SqsClient, call: str, told: Mapping[str, Any]) -> bool:
    """Return whether a call that cannot succeed fails for another reason than that the user has no right to make it."""
    try:
        await client.call(call, **told)
    except SqsForbidden:
        return False
    except SqsAway:
        return True
    return True


def _unusable(options: QueueOptions, found: QueueFound) -> str | None:
    if found.lacking:
        return f"the queue {options.queue}: the user has no right to {', '.join(found.lacking)}"
    if (found.attributes.get("FifoQueue") == "true") > options.is_fifo:
        return f"the queue {options.queue} is a FIFO queue, and its name must end with .fifo"
    return None


def _of_visibility(queue: str, seconds: int) -> list[str]:
    if seconds >= LEAST_VISIBILITY:
        return []
    return [
        f"the queue {queue} has a visibility timeout of {seconds} s, after which its messages are handed out again "
        f"unless they are on the bus by then: set it to 30 s"
    ]


def _of_topic(topic: str, config: Mapping[str, str], seconds: int) -> list[str]:
    """Return why a message that is handed out again may not be recognized by the copy on the source topic."""
    texts = []
    kept = int(config.get("retention.ms", -1))
    if 0 <= kept <= seconds * 1_000:
        texts.append(
            f"the topic {topic} keeps messages for {kept / 1_000:g} s (retention.ms), and the queue hands them out "
            f"again after {seconds} s (its visibility timeout), so they could count twice: keep them for longer"
        )
    if "compact" in config.get("cleanup.policy", ""):
        texts.append(
            f"the topic {topic} is compacted (cleanup.policy), so messages that the queue hands out again could count "
            "twice: use a topic that is not"
        )
    return texts
