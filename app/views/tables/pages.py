"""The pages of the gathered tables: whole tables, and single entries."""

from __future__ import annotations

from typing import Any, Literal

from faust import web
from msgspec import Struct, to_builtins

from metroline.app.markup.html import Markup, tag
from metroline.app.views.operation import Either, Operation, Parameter, Together
from metroline.app.views.tables.catalog import OWNER, TABLES, AnyTable
from metroline.app.views.tables.journeys import JourneysContent
from metroline.app.views.tables.outcomes import BlockEntry, OutcomesContent
from metroline.app.views.tables.scatter_gather import Coverage
from metroline.app.views.tables.table_list import NOT_FOUND, TableView, blueprint

NOTHING_KNOWN = "No worker that holds entries of this table answered, so nothing is known about them here."

TABLE = Parameter("name", "Name of the table", Literal["outcomes", "journeys", "dead_letters"])
LOCAL = Parameter("local", "`true` for what this worker alone holds", Literal["true", "false"])


class TableHead(Struct, frozen=True):
    """The name of a table, and what it is for."""

    table: str
    help: str


class NoContent(Struct, frozen=True):
    """The content of a page if no worker that holds entries answered."""


class EntryHead(Struct, frozen=True):
    """The key of an entry, and the entry as it is stored."""

    table: str
    key: str
    value: Any


class GatheredView(TableView):
    """A page of which several workers hold a part."""

    def no_owner(self, request: web.Request, table: AnyTable) -> web.Response:
        """Return a 404 for a table that neither this worker nor a live worker that may be asked holds."""
        rest = "does not ask others with local=true" if _is_local(request) else "knows no live worker with that role"
        return self.not_found(
            request,
            f"{table.name} is held by workers with the role {OWNER}; this one has the role {self.worker.role.name} and"
            f" {rest}",
        )


@blueprint.route("/{name}", name="table-bare")
@blueprint.route("/{name}/", name="table")
class TablePage(GatheredView):
    """A table, gathered from all workers that hold entries of it."""

    api = (
        Operation(
            "get",
            "A table, gathered from all workers that hold entries of it; without its content if none answered",
            Together((TableHead, Coverage, Either((OutcomesContent, JourneysContent, NoContent)))),
            (TABLE, LOCAL),
            others=NOT_FOUND,
        ),
    )

    async def get(self, request: web.Request, name: str) -> web.Response:
        table = TABLES.get(name)
        if table is None:
            return self.not_found(request, f"there is no table {name}")
        page = await self.scatter_gather(request).page(table, local=_is_local(request))
        if page is None:
            return self.no_owner(request, table)
        data = {"table": name, "help": table.description} | page.as_json()
        content = page.content

        def show() -> Markup:
            shown = table.show(content) if content is not None else tag("p", NOTHING_KNOWN, class_="warning")
            return Markup(tag("p", table.description) + _warnings(page.coverage) + shown)

        return self.answer(request, _title(name), data, show)


@blueprint.route("/{name}/{key:.+}", name="entry")
class EntryPage(GatheredView):
    """One entry of a table, by its key, which contains slashes."""

    api = (
        Operation(
            "get",
            "One entry of a table",
            Together((EntryHead, Either((BlockEntry, JourneysContent)))),
            (TABLE, Parameter("key", "Key of the entry, as in `0/source/0`"), LOCAL),
            others=NOT_FOUND,
        ),
    )

    async def get(self, request: web.Request, name: str, key: str) -> web.Response:
        table, key = TABLES.get(name), key.rstrip("/")
        if table is None:
            return self.not_found(request, f"there is no table {name}")
        found = await self.scatter_gather(request).entry(table, key, local=_is_local(request))
        if found is None:
            return self.no_owner(request, table)
        if found.value is None:
            silent = "".join(f"; {url}, which may have it, does not answer" for url in found.missing)
            return self.not_found(request, f"{name} has no entry {key}{silent}", found.missing)
        try:
            explained = table.explained(key, found.value)
        except ValueError as error:
            return self.not_found(request, f"no worker of this line wrote the entry {key} of {name} ({error})")
        data = {"table": name, "key": key, "value": found.value} | to_builtins(explained)
        return self.answer(request, f"{_title(name)}: {key}", data, lambda: table.show_entry(explained))


def _is_local(request: web.Request) -> bool:
    return request.query.get("local") == "true"


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _warnings(coverage: Coverage) -> Markup:
    """Return what is missing from a page, as HTML."""
    parts = []
    if coverage.missing:
        workers = ", ".join(coverage.missing)
        parts.append(tag("p", f"No answer from {workers}. Their entries are missing from this page.", class_="warning"))
    if coverage.missing_partitions:
        numbers = ", ".join(map(str, coverage.missing_partitions))
        warning = f"No worker reported partition {numbers}. The sums do not include it."
        parts.append(tag("p", warning, class_="warning"))
    return Markup("".join(parts))
