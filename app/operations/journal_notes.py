"""Notes on the topic of the journal: what was done to the line and is recorded nowhere else."""

from __future__ import annotations

import asyncio
import logging
import time
from enum import StrEnum
from typing import Annotated

import msgspec
from aiokafka.errors import KafkaError
from msgspec import Meta, Struct

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topics import Topics
from metroline.app.operations.permission import Permission
from metroline.routing.errors import MetrolineError

NOTE_SECONDS = 5.0
"""Time that a note may take. It must not hold up who has done something."""

MAX_TEXT, MAX_NAME = 500, 200
"""Number of characters of a text, and of the name of a person."""

Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Name = Annotated[str, Meta(max_length=MAX_NAME)]
Moment = Annotated[float, Meta(ge=0, le=253_402_300_799)]

log = logging.getLogger(__name__)


class NotANote(MetrolineError):
    """Raised for a message on the topic of the journal that is not a note."""


class Deed(StrEnum):
    """The things that are noted on the topic of the journal."""

    HANDED_OVER = "handed over"
    JOINED = "joined"
    """A worker started."""
    LEFT = "left"
    """A worker stopped."""
    COMPARED = "compared"
    """A comparison of strategies was started on a page."""
    CANCELLED = "cancelled"
    """One was cancelled."""


class Note(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message on the topic of the journal."""

    deed: Deed
    at: Moment
    """Seconds since the epoch."""
    by: Name = ""
    """The name of the person or program; empty for workers."""
    run: Text = ""
    """The id of a comparison."""
    worker: Text = ""
    """The address of a worker."""
    roles: Text = ""
    """The role of a worker, or those to which the line was handed over."""
    reason: Text = ""
    code: Text = ""
    """Identity of the code of the line that a worker runs."""

    def encode(self) -> bytes:
        """Return the note as the value of a message."""
        return _ENCODER.encode(self)

    @classmethod
    def decode(cls, value: bytes | None) -> Note:
        """Read the value of a message; raise `NotANote` if it is none."""
        try:
            return _DECODER.decode(value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotANote(f"not a note: {error}") from error


_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Note] = msgspec.json.Decoder(Note)


def note_of(deed: Deed, by: str = "", **texts: str) -> Note:
    """Return a note of this moment. Texts are cut, and lose what UTF-8 cannot encode."""
    cut = {name: _text(text) for name, text in texts.items()}
    return Note(deed=deed, at=time.time(), by=_text(by)[:MAX_NAME], **cut)


async def note_deed(
    cluster: Cluster,
    topics: Topics,
    permission: Permission,
    deed: Deed,
    **texts: str,
) -> None:
    """Note what has been done by whoever has the permission. What is done stays done if the note cannot be written.

    Nothing is noted where the topic is missing: workers of this version create it when they start.
    """
    note = note_of(deed, permission.demand(), **texts)
    topic = topics.journal
    try:
        async with asyncio.timeout(NOTE_SECONDS):
            if topic not in await TopicAdmin(cluster).partitions([topic]):
                return
            async with cluster.producer() as producer:
                await producer.send_and_wait(topic, note.encode(), partition=0)
    except (MetrolineError, KafkaError, OSError) as error:  # a timeout is an OSError, too
        reason = str(error) or "the brokers do not answer"
        log.warning("it is done, but %s cannot be written to, so that the journal lacks it: %s", topic, reason)


def _text(given: str) -> str:
    """Return a text as a note may hold it."""
    return given[:MAX_TEXT].encode(errors="replace").decode()
