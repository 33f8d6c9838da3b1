"""The pages of the tables that are kept by the role arrivals: whole, and single entries."""

from __future__ import annotations

from typing import Any

from faust import web

from metroline.app.markup.html import Markup, tag
from metroline.app.views.tables.catalog import ROLE, SHELVES, Shelf
from metroline.app.views.tables.table_list import TableView, blueprint


class GatheredView(TableView):
    """A page that several workers have a part of."""

    def nobody(self, request: web.Request, shelf: Shelf) -> web.Response:
        """404 for a table that is not kept here, and elsewhere by nobody who is alive or asked."""
        whose = f"{shelf.name} is kept by workers of the role {ROLE}; this one plays {self.worker.role.name}"
        rest = "does not ask others with local=true" if _is_local(request) else "knows of none that is alive"
        return self.not_found(request, f"{whose} and {rest}")


@blueprint.route("/{name}", name="table-bare")
@blueprint.route("/{name}/", name="table")
class TablePage(GatheredView):
    """A table, gathered from all workers that hold entries of it."""

    async def get(self, request: web.Request, name: str) -> web.Response:
        shelf = SHELVES.get(name)
        if shelf is None:
            return self.not_found(request, f"there is no table {name}")
        found = await self.gathering(request).page(shelf, local=_is_local(request))
        if found is None:
            return self.nobody(request, shelf)
        page = {"table": name, "help": shelf.help} | found
        return self.answer(request, _title(name), page, lambda: Markup(_lead(page) + shelf.show(page)))


@blueprint.route("/{name}/{key:.+}", name="entry")
class EntryPage(GatheredView):
    """One entry of a table, by its key, which has slashes."""

    async def get(self, request: web.Request, name: str, key: str) -> web.Response:
        shelf, key = SHELVES.get(name), key.rstrip("/")
        if shelf is None:
            return self.not_found(request, f"there is no table {name}")
        found = await self.gathering(request).entry(shelf, key, local=_is_local(request))
        if found is None:
            return self.nobody(request, shelf)
        if found.value is None:
            silent = "".join(f"; {url}, which may have it, does not answer" for url in found.missing)
            return self.not_found(request, f"{name} has no entry {key}{silent}", found.missing)
        explained = shelf.explain(key, found.value)
        data = {"table": name, "key": key, "value": found.value} | explained
        return self.answer(request, f"{_title(name)}: {key}", data, lambda: shelf.show_entry(explained))


def _is_local(request: web.Request) -> bool:
    return request.query.get("local") == "true"


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _lead(page: dict[str, Any]) -> Markup:
    """What a page of a gathered table begins with: what it is, whose entries it has, and whose are missing."""
    parts = [tag("p", page["help"])]
    if page["missing"]:
        silent = ", ".join(page["missing"])
        parts.append(tag("p", f"No answer from {silent}: what is held there is missing here.", class_="warning"))
    if page["missing_partitions"]:
        numbers = ", ".join(map(str, page["missing_partitions"]))
        parts.append(tag("p", f"Nobody told of partition {numbers}: the sums are without it.", class_="warning"))
    return Markup("".join(parts))
