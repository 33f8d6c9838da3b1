"""The versions of the rules as their topic holds them: the changelog of the table may say anything of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

import orjson
from aiokafka import TopicPartition

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.tables.publication import NotAPublication, Publication

RETRY_SECONDS = 1.0
"""Time between two attempts to read the topic."""

READ_SECONDS = 10.0
"""Time that an attempt may take, in seconds. A client whose broker goes away while it reads may wait without end."""

FAR_AHEAD = 2**20
"""Number of versions after the last known one from which on a version is asked for once in `RETRY_SECONDS`."""

MAX_VERSIONS, MAX_VERSIONS_BYTES = 1_000, 64 * 1024 * 1024
"""Number and bytes of the versions that a worker keeps in memory."""

MAX_FORECASTS = 8
"""Number of the latest versions whose forecasts a worker keeps. It compares that of the current version with what
happens, which is an earlier one while it refuses the latest ones."""

log = logging.getLogger(__name__)


def forget_oldest(versions: dict[int, bytes]) -> list[int]:
    """Remove the oldest versions beyond the limits, but never the latest one; return them."""
    size, forgotten = sum(map(len, versions.values())), []
    for version in sorted(versions)[:-1]:
        if len(versions) <= MAX_VERSIONS and size <= MAX_VERSIONS_BYTES:
            break
        size -= len(versions.pop(version))
        forgotten.append(version)
    return forgotten


def without_forecasts(versions: Mapping[int, bytes], done: int) -> dict[int, bytes]:
    """Return the versions whose forecasts are not kept, without these. Those up to `done` have none any more."""
    older = [version for version in sorted(versions)[:-MAX_FORECASTS] if version > done]
    return {version: _without_forecast(versions[version]) for version in older}


def _without_forecast(encoded: bytes) -> bytes:
    if b'"forecast"' not in encoded:
        return encoded
    publication = orjson.loads(encoded)
    publication.pop("forecast", None)
    return orjson.dumps(publication)


class PublishedVersions:
    """Finds versions on the topic of the rules: a message is one if it replaces the version before it."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._cluster = cluster
        self._partition = TopicPartition(topic, 0)
        self._found: dict[int, bytes] = {}
        self._latest = 0
        self._without_forecast = 0
        """The version up to which no forecasts are kept."""
        self._next = 0
        """The offset up to which the topic was read."""
        self._asked_at = float("-inf")

    async def find(self, version: int) -> bytes | None:
        """Return the publication of a version as the table stores it, or None if the topic has no such version.

        While the brokers do not answer, they are asked again: what cannot be verified is not left out.
        """
        is_far = version > self._next + FAR_AHEAD and time.monotonic() - self._asked_at < RETRY_SECONDS
        while version > self._next and not is_far:
            problem = await self._attempt()
            if problem is None:
                break
            log.info("the topic of the rules is read again: %s", problem)
            await asyncio.sleep(RETRY_SECONDS)
        return self._found.get(version)

    async def _attempt(self) -> str | None:
        """Read on, in a task that is left behind if it takes too long; return what went wrong, or None."""
        reading = asyncio.create_task(self._read_on())
        await asyncio.wait({reading}, timeout=READ_SECONDS)
        if not reading.done():
            reading.cancel()  # not waited for: a client that hangs may hang as it is closed, too
            return f"no answer within {READ_SECONDS:g} s"
        error = reading.exception()
        return None if error is None else f"{type(error).__name__}: {error}"

    async def _read_on(self) -> None:
        """Read the messages that were written since."""
        self._asked_at = time.monotonic()
        end = (await TopicAdmin(self._cluster).high_watermarks([self._partition]))[self._partition]
        if end <= self._next:
            return
        async with self._cluster.consumer(fetch_max_wait_ms=10) as consumer:
            consumer.assign([self._partition])
            consumer.seek(self._partition, self._next)
            while await consumer.position(self._partition) < end:
                for message in (await consumer.getmany(timeout_ms=1_000)).get(self._partition, ()):
                    self._take(message.offset + 1, message.value)
        self._next = max(self._next, end)

    def _take(self, version: int, value: bytes | None) -> None:
        if version <= self._latest:
            return
        try:
            publication = Publication.decode(value)
        except NotAPublication:  # the agent of the rules counts it
            return
        if publication.replaces == self._latest:
            self._latest = version
            self._found[version] = orjson.dumps(publication.as_json())
            forget_oldest(self._found)
            older = without_forecasts(self._found, self._without_forecast)
            self._found |= older
            self._without_forecast = max(older, default=self._without_forecast)
