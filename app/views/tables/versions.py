"""The pages of the rules table, which every worker holds whole."""

from __future__ import annotations

from faust import web

from metroline.app.views.tables import rules
from metroline.app.views.tables.catalog import RULES
from metroline.app.views.tables.table_list import TableView, blueprint
from metroline.app.views.view import LineView


@blueprint.route("/rules", name="rules-bare")
@blueprint.route("/rules/", name="rules")
class RulesPage(LineView):
    """The rules table."""

    async def get(self, request: web.Request) -> web.Response:
        page = {"table": RULES} | rules.read(self.worker.live_rules, self.worker.settings.strategy)
        return self.answer(request, "Rules", page, lambda: rules.show(page))


@blueprint.route("/rules/{key:.+}", name="rules-version")
class RulesVersion(TableView):
    """One version of the rules table."""

    async def get(self, request: web.Request, key: str) -> web.Response:
        key = key.rstrip("/")
        entry = rules.entry(self.worker.live_rules, key)
        if entry is None:
            return self.not_found(request, f"the rules have no version {key}")
        data = {"table": RULES, "key": key, "value": entry}
        return self.answer(request, f"Rules, version {key}", data, lambda: rules.show_entry(entry))
