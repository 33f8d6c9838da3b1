"""Pages of tables whose entries lie with several workers, put together from what each of them holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from metroline.app.views.tables.catalog import ROLE, Page, Shelf
from metroline.app.views.tables.recovered import Held
from metroline.app.views.tables.worker_client import Answers, ask

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a table, None where nobody who answered has it, and who did not answer."""

    value: Any
    missing: list[str]


class Gathering:
    """Reads tables here, and asks the other workers that hold entries of them."""

    def __init__(self, app: LineApp) -> None:
        self.app = app
        self._held = Held(app)

    @property
    def url(self) -> str:
        """The address of this worker, as the others know it."""
        return str(self.app.conf.canonical_url)

    def held(self, shelf: Shelf) -> frozenset[int]:
        """The partitions of a table that this worker holds."""
        return self._held.partitions(self._topic(shelf))

    async def page(self, shelf: Shelf, *, local: bool) -> Page | None:
        """The page of a table, of what is held here alone if `local`; None where nobody is alive who keeps it."""
        others = [] if local else self._others(shelf)
        if shelf.table(self.app.line_tables) is None and not others:
            return None
        here, answers = await asyncio.gather(self._read(shelf), self._ask(others, f"/table/{shelf.name}/"))
        pages = here | _usable(answers, lambda page: shelf.show(_merged(shelf, [page])))
        gathered = {"workers": sorted(pages), "missing": sorted(answers.missing + answers.lacking)}
        return gathered | _merged(shelf, pages.values())

    async def entry(self, shelf: Shelf, key: str, *, local: bool) -> Entry | None:
        """An entry by its key, from who holds its partition; None where nobody is alive who keeps the table."""
        others = [] if local else self._others(shelf)
        table = shelf.table(self.app.line_tables)
        if table is None and not others:
            return None
        number, _, _ = key.partition("/")
        if table is not None and number in map(str, self.held(shelf)):
            return Entry(table.read(key.encode(errors="replace")), [])
        answers = await self._ask(others, f"/table/{shelf.name}/{quote(key)}/")
        pages = _usable(answers, lambda page: shelf.show_entry(shelf.explain(key, page["value"])))
        return Entry(next((page["value"] for page in pages.values()), None), sorted(answers.missing))

    async def _read(self, shelf: Shelf) -> dict[str, Page]:
        table, held = shelf.table(self.app.line_tables), self.held(shelf)
        if table is None:
            return {}
        known = {"partitions": sorted(held), "partitions_in_all": self._partitions_in_all(shelf)}
        return {self.url: known | await shelf.read(table, held)}

    async def _ask(self, workers: list[str], path: str) -> Answers:
        return await ask(self.app.http_client, workers, path) if workers else Answers()

    def _others(self, shelf: Shelf) -> list[str]:
        """The group that shares a table knows who holds what; a worker of another role goes by who is alive."""
        topic = self._topic(shelf)
        known = {url for url, held in self.app.assignor.table_metadata(topic).items() if held.get(topic)}
        if not known:
            known = {worker.url for worker in self.app.workers.alive(time.time()) if ROLE in worker.parts}
        return sorted(known - {self.url})

    def _partitions_in_all(self, shelf: Shelf) -> int:
        """How many partitions a table has, as far as they were handed out: so it is seen when nobody told of one."""
        topic = self._topic(shelf)
        shares = self.app.assignor.table_metadata(topic).values()
        return 1 + max((partition for share in shares for partition in share.get(topic, ())), default=-1)

    def _topic(self, shelf: Shelf) -> str:
        return self.app.line_topics.changelog(shelf.name)


def _merged(shelf: Shelf, pages: Iterable[Page]) -> Page:
    pages = list(pages)
    held = {int(partition) for page in pages for partition in page["partitions"]}
    in_all = max((int(page["partitions_in_all"]) for page in pages), default=0)
    missing = sorted({*range(in_all)} - held)
    told = {"partitions": sorted(held), "partitions_in_all": in_all, "missing_partitions": missing}
    return told | shelf.merge(pages)


def _usable(answers: Answers, use: Callable[[Page], object]) -> dict[str, Page]:
    """The pages that can be used; who sent another one, as another version of this program may, counts as missing."""
    usable = {}
    for worker, page in answers.pages.items():
        try:
            use(page)
        except (LookupError, TypeError, ValueError, AttributeError):
            answers.missing.append(worker)
        else:
            usable[worker] = page
    return usable
