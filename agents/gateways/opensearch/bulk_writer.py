"""Writes documents with bulk requests, and tries again for a while if the cluster takes none of them, or not all."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from metroline.agents.gateways.opensearch.bulk import WRITTEN, Document, Fate, Item, chunks
from metroline.agents.gateways.opensearch.cluster import ClusterAway, RequestRefused, SearchCluster
from metroline.agents.gateways.opensearch.index_template import IndexTemplate

PATIENCE_SECONDS = 15.0
"""Time after the first attempt from which on no further one begins."""

FIRST_BACKOFF = 0.2
"""Upper limit in seconds of the wait before the second attempt. It doubles with each further one."""

MAX_BACKOFF = 5.0
"""Maximum wait in seconds between two attempts, unless the cluster asks for a longer one."""

LOG_SECONDS = 30.0
"""Time between two log lines that say that records wait."""

MAX_ID_BYTES = 512
"""Maximum length of the id of a document."""

log = logging.getLogger(__name__)


class BulkWriter:
    """Writes documents into a cluster."""

    def __init__(
        self,
        name: str,
        cluster: SearchCluster,
        template: IndexTemplate | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is that of the end, for the log. `template` is put into the cluster before the first document."""
        self.name = name
        self.cluster = cluster
        self._template = template
        self._template_lock = asyncio.Lock()
        self._sleep = sleep
        self._clock = clock
        self._is_waiting = False
        self._logged_at = -LOG_SECONDS

    async def write(self, documents: Sequence[Document]) -> list[Item]:
        """Write documents and return the result of each. Those that wait may be written later, in any order."""
        items = [_own_problem(document) for document in documents]
        left = [place for place, item in enumerate(items) if item is WRITTEN]
        latest, most = self._clock() + PATIENCE_SECONDS, FIRST_BACKOFF
        while left:
            results, least = await self._attempt([documents[place] for place in left])
            for place, item in zip(left, results, strict=True):
                items[place] = item
            left = [place for place in left if items[place].fate is Fate.WAITS]
            if left:
                self._note(items[left[0]].reason)
                pause = max(least, random.uniform(0, most))
                if self._clock() + pause >= latest:
                    return items
                await self._sleep(pause)
                most = min(MAX_BACKOFF, most * 2)
        self._recovered()
        return items

    async def _attempt(self, documents: Sequence[Document]) -> tuple[list[Item], float]:
        """Write documents once. Return their results, and the seconds for which the cluster asks to be left alone."""
        items: list[Item] = []
        least = 0.0
        try:
            await self._apply_template()
            for part in chunks(documents):
                items += await self._divided(part)
        except ClusterAway as error:
            reason, least = str(error), error.retry_after
        except RequestRefused as error:  # of the template: without it, indices would have other mappings
            reason = str(error)
        else:
            return items, least
        return items + [Item(Fate.WAITS, reason)] * (len(documents) - len(items)), least

    async def _apply_template(self) -> None:
        async with self._template_lock:
            if self._template is None:
                return
            if await self._template.apply(self.cluster):
                log.info("the index template %s was put into %s", self._template.name, self.cluster.address)
            self._template = None

    async def _divided(self, documents: Sequence[Document]) -> list[Item]:
        """Write documents in a request or, if it is refused as a whole, in two, down to the document at fault."""
        try:
            return await self.cluster.write(documents)
        except RequestRefused as error:
            if len(documents) == 1:
                return [Item(Fate.REFUSED, str(error))]
        half = len(documents) // 2
        return [*await self._divided(documents[:half]), *await self._divided(documents[half:])]

    def _note(self, why: str) -> None:
        self._is_waiting = True
        if self._clock() - self._logged_at >= LOG_SECONDS:
            self._logged_at = self._clock()
            log.warning("the end %s: records wait: %s", self.name, why)

    def _recovered(self) -> None:
        if self._is_waiting:
            log.info("the end %s: %s takes records again", self.name, self.cluster.address)
            self._is_waiting, self._logged_at = False, -LOG_SECONDS


def _own_problem(document: Document) -> Item:
    """Return why a document would make the cluster refuse all those in its request; `WRITTEN` if it would not."""
    if not document.id:
        return Item(Fate.REFUSED, "its id is empty")
    if (size := len(document.id.encode())) > MAX_ID_BYTES:
        return Item(Fate.REFUSED, f"its id has {size} bytes, and {MAX_ID_BYTES} are the maximum")
    return WRITTEN
