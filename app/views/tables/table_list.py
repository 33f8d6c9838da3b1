"""The list of a line's tables, and what all pages below `/table/` share."""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

from aiohttp.web import AppKey
from aiohttp.web import Request as AiohttpRequest
from faust import web
from msgspec import UNSET, Struct, UnsetType

from metroline.agents.tables.line_table import LineTable
from metroline.app.markup.html import Markup, grid, number, tag
from metroline.app.views.operation import Either, Error, Operation
from metroline.app.views.tables.catalog import NAMES, OWNER, RULES, RULES_DESCRIPTION, TABLES
from metroline.app.views.tables.scatter_gather import ScatterGather
from metroline.app.views.view import LineView

SCATTER_GATHER = AppKey("scatter_gather", ScatterGather)
"""The key under which the web application keeps what its views share."""

blueprint = web.Blueprint("line_tables")


class NotFound(Struct, frozen=True):
    """An answer with status 404: what was not found, and which tables there are."""

    error: str
    tables: list[str]
    missing: list[str] | UnsetType = UNSET
    """Workers that did not answer and may have it."""


NOT_FOUND = {HTTPStatus.NOT_FOUND: Either((NotFound, Error))}
"""The answers about what a page does not find, and about a path that is that of no page."""


class ListedTable(Struct, frozen=True):
    """A table: what it is for, the role that holds it, and its entries on this worker (None: it holds none)."""

    name: str
    help: str
    role: str
    entries: int | None


class TablesPage(Struct, frozen=True):
    """The list of tables as this worker knows them."""

    line: str
    worker: str
    role: str
    tables: list[ListedTable]


class TableView(LineView):
    """A page below `/table/`."""

    def scatter_gather(self, request: web.Request) -> ScatterGather:
        return cast(AiohttpRequest, request).app[SCATTER_GATHER]

    def not_found(self, request: web.Request, error: str, missing: list[str] | None = None) -> web.Response:
        """Return a 404 that lists the tables."""
        links = [tag("li", tag("a", name, href=f"/table/{name}/")) for name in NAMES]
        return self.answer(
            request,
            "Not found",
            NotFound(error, NAMES, missing or UNSET),
            lambda: Markup(tag("p", error, class_="warning") + tag("ul", links)),
            status=404,
        )


@blueprint.route("/", name="list")
class TableList(TableView):
    """The tables of this line."""

    api = (Operation("get", "Tables of the line, as this worker knows them", TablesPage),)

    async def get(self, request: web.Request) -> web.Response:
        worker, scatter_gather = self.worker, self.scatter_gather(request)
        tables = [ListedTable(RULES, RULES_DESCRIPTION, "all", len(worker.line_tables.rules.data))]
        for table in TABLES.values():
            stored = table.table(worker.line_tables)
            entries = None if stored is None else _count(stored, scatter_gather.partitions_here(table))
            tables.append(ListedTable(table.name, table.description, OWNER, entries))
        page = TablesPage(worker.line.name, scatter_gather.url, worker.role.name, tables)
        return self.answer(request, "Tables", page, lambda: _show(page))


def _count(table: LineTable, partitions: frozenset[int]) -> int:
    """Count the entries of these partitions without decoding them."""
    prefixes = {f"{partition}".encode() for partition in partitions}
    return sum(1 for key, value in table.data.items() if value and key.partition(b"/")[0] in prefixes)


def _show(page: TablesPage) -> Markup:
    rows = [
        [tag("a", table.name, href=f"/table/{table.name}/"), table.help, table.role, number(table.entries)]
        for table in page.tables
    ]
    return grid(["Table", "Description", "Owner", "Entries here#"], rows)
