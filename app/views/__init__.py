"""The pages of a worker's web server: where it stands, its tables, and what it sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from faust.web.drivers.aiohttp import Web

from app.views import failures, gathered, versions
from app.views.gathering import Gathering
from app.views.start import StartView
from app.views.tables import GATHERING, TableList, blueprint
from app.views.traffic import TrafficView

if TYPE_CHECKING:
    from app.factory import LineApp

__all__ = ["add_views", "gathered", "versions"]


def add_views(app: LineApp) -> None:
    """Adds our pages to the worker's web server."""
    cast(Web, app.web).web_app[GATHERING] = Gathering(app)
    app.page("/")(StartView)  # before Faust's own, whose answer to programs it gives
    app.page("/traffic/")(TrafficView)
    app.page("/table")(TableList)
    app.web.blueprints.add("/table", blueprint)
    app.web.blueprints.add("/dead-letters", failures.blueprint)
