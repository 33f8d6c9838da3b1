"""What the pages below /table/ share, and the first of them, which lists the tables."""

from __future__ import annotations

from typing import Any, cast

from aiohttp.web import AppKey
from aiohttp.web import Request as AiohttpRequest
from faust import web

from metroline.agents.tables.line_table import LineTable
from metroline.app.markup.html import Markup, grid, number, tag
from metroline.app.views.tables.catalog import NAMES, ROLE, RULES, RULES_HELP, SHELVES
from metroline.app.views.tables.scatter_gather import Gathering
from metroline.app.views.view import LineView

GATHERING = AppKey("gathering", Gathering)
"""Where the web application keeps what its views share."""

blueprint = web.Blueprint("line_tables")


class TableView(LineView):
    """What the pages of tables share."""

    def gathering(self, request: web.Request) -> Gathering:
        return cast(AiohttpRequest, request).app[GATHERING]

    def not_found(self, request: web.Request, error: str, missing: list[str] | None = None) -> web.Response:
        """404 that says what there is."""
        data = {"error": error, "tables": NAMES} | ({"missing": missing} if missing else {})
        links = [tag("li", tag("a", name, href=f"/table/{name}/")) for name in NAMES]
        return self.answer(
            request, "Not found", data, lambda: Markup(tag("p", error, class_="warning") + tag("ul", links)), status=404
        )


@blueprint.route("/", name="list")
class TableList(TableView):
    """The tables of this line."""

    async def get(self, request: web.Request) -> web.Response:
        """Names, what they are for, the role that keeps them, and how many entries are here."""
        worker, gathering = self.worker, self.gathering(request)
        versions = len(worker.line_tables.rules.data)
        tables: list[dict[str, Any]] = [{"name": RULES, "help": RULES_HELP, "role": "all", "entries": versions}]
        for shelf in SHELVES.values():
            table = shelf.table(worker.line_tables)
            entries = None if table is None else _count(table, gathering.held(shelf))
            tables.append({"name": shelf.name, "help": shelf.help, "role": ROLE, "entries": entries})
        data = {"line": worker.line.name, "worker": gathering.url, "role": worker.role.name, "tables": tables}
        return self.answer(request, "Tables", data, lambda: _list(tables))


def _count(table: LineTable, partitions: frozenset[int]) -> int:
    """Entries that are held, without decoding them."""
    held = {f"{partition}".encode() for partition in partitions}
    return sum(1 for key, value in table.data.items() if value and key.partition(b"/")[0] in held)


def _list(tables: list[dict[str, Any]]) -> Markup:
    rows = [
        [tag("a", one["name"], href=f"/table/{one['name']}/"), one["help"], one["role"], number(one["entries"])]
        for one in tables
    ]
    return grid(["Table", "What it tells", "Kept by", "Entries here#"], rows)
