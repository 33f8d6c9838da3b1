"""The pages of a worker's web server: where it stands, its tables, and what it sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from faust.web.drivers.aiohttp import Web

from metroline.app.views import dead_letters as failures
from metroline.app.views.index import StartView
from metroline.app.views.tables import pages as gathered
from metroline.app.views.tables import versions
from metroline.app.views.tables.scatter_gather import Gathering
from metroline.app.views.tables.table_list import GATHERING, TableList, blueprint
from metroline.app.views.traffic import TrafficView

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

__all__ = ["add_views", "gathered", "versions"]


def add_views(app: LineApp) -> None:
    """Adds our pages to the worker's web server."""
    cast(Web, app.web).web_app[GATHERING] = Gathering(app)
    app.page("/")(StartView)  # before Faust's own, whose answer to programs it gives
    app.page("/traffic/")(TrafficView)
    app.page("/table")(TableList)
    app.web.blueprints.add("/table", blueprint)
    app.web.blueprints.add("/dead-letters", failures.blueprint)
