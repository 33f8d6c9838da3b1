"""The pages of a worker. They read the running app, and write nothing but replays and discards of dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from faust.web.drivers.aiohttp import Web

from metroline.app.views import dead_letters, replay_jobs
from metroline.app.views.health import LiveView, ReadyView
from metroline.app.views.index import IndexView
from metroline.app.views.metrics import REGISTRY, MetricsView, registry_of
from metroline.app.views.tables import pages, rules
from metroline.app.views.tables.scatter_gather import ScatterGather
from metroline.app.views.tables.table_list import SCATTER_GATHER, TableList, blueprint
from metroline.app.views.traffic import TrafficView

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

__all__ = ["add_views", "pages", "replay_jobs", "rules"]


def add_views(app: LineApp) -> None:
    """Add our pages to the web server of a worker."""
    cast(Web, app.web).web_app[SCATTER_GATHER] = ScatterGather(app)
    cast(Web, app.web).web_app[REGISTRY] = registry_of(app)
    desk = cast(Web, app.web).web_app[dead_letters.DESK] = app.desk
    cast(Web, app.web).web_app.on_cleanup.append(lambda _: desk.close())
    app.page("/")(IndexView)  # before Faust's own index, which answers OK whatever happens
    app.page("/health/live")(LiveView)
    app.page("/health/ready")(ReadyView)
    app.page("/metrics")(MetricsView)
    app.page("/traffic/")(TrafficView)
    app.page("/table")(TableList)
    app.web.blueprints.add("/table", blueprint)
    app.web.blueprints.add("/dead-letters", dead_letters.blueprint)
    app.web.blueprints.add("/api/dead-letters", dead_letters.blueprint)
