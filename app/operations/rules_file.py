"""Publishes the rules table in a line's file, for a command that keeps the live table as the file is."""

from __future__ import annotations

import time
from dataclasses import dataclass

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.publication import Publication
from metroline.app.operations.permission import Permission
from metroline.app.operations.rules_topic import publish_and_look, read_published
from metroline.routing.errors import MetrolineError

ATTEMPTS = 3
"""Number of attempts to publish, if somebody else publishes at the same moment."""


REASON = "the file was changed"
"""The reason that such a publication has."""


class NotPublishedYet(MetrolineError):
    """Raised when others kept publishing at the same moment."""


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """The table of a file after it was published."""

    version: int
    before: str
    """The table that was current before; the same one if nothing had to be published."""


async def publish_file(cluster: Cluster, topics: Topics, text: str, permission: Permission) -> PublishedFile:
    """Publish a table, which the caller has checked, unless it is the current one.

    Raise `NotPublishedYet` if others publish all the time.
    """
    for _ in range(ATTEMPTS):
        current = await read_published(cluster, topics)
        if current is not None and current.publication.text == text:
            return PublishedFile(current.version, text)
        replaced = 0 if current is None else current.version
        publication = Publication(text, replaced, permission.by, time.time(), REASON)
        written = await publish_and_look(cluster, topics, publication, permission)
        if written.version is not None:
            return PublishedFile(written.version, "" if current is None else current.publication.text)
    raise NotPublishedYet("the rules were not published: somebody else publishes all the time")
