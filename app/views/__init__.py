"""The pages of a worker. They read the running app, and write by operations alone, which demand a permission."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from faust.web.drivers.aiohttp import Web

from metroline.app.operations.comparison_runs import ComparisonBoard
from metroline.app.operations.comparisons import Comparisons
from metroline.app.operations.journeys.archive import JourneyArchive
from metroline.app.operations.rules_history import LineCounts
from metroline.app.operations.rules_process import RulesProcess
from metroline.app.operations.table_checker import TableChecker
from metroline.app.views.access.doors import ACCESS, Access
from metroline.app.views.access.login import LoginView, LogoutView
from metroline.app.views.comparisons import views as comparison_views
from metroline.app.views.health import LiveView, ReadyView
from metroline.app.views.index import IndexView
from metroline.app.views.journal_page import JournalView
from metroline.app.views.journeys import pages as journeys
from metroline.app.views.letters import dead_letters, foreign_letters, replay_jobs
from metroline.app.views.live import LiveFiguresView, add_stream
from metroline.app.views.metrics import REGISTRY, MetricsView, registry_of
from metroline.app.views.openapi import OpenApiView
from metroline.app.views.rules import page as rules_page
from metroline.app.views.rules import publishing as rules_publishing
from metroline.app.views.static_files import add_static_files
from metroline.app.views.stop_details import StopDetailsView
from metroline.app.views.tables import pages as table_pages
from metroline.app.views.tables import rules as table_of_rules
from metroline.app.views.tables.scatter_gather import ScatterGather
from metroline.app.views.tables.table_list import SCATTER_GATHER, TableList, blueprint
from metroline.app.views.traffic import TrafficView
from metroline.app.web_server.gate import MAY_READ

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

__all__ = ["add_views", "foreign_letters", "replay_jobs", "table_of_rules", "table_pages"]


def add_views(app: LineApp) -> None:
    """Add our pages to the web server of a worker."""
    cast(Web, app.web).web_app[SCATTER_GATHER] = ScatterGather(app)
    cast(Web, app.web).web_app[REGISTRY] = registry_of(app)
    desk = cast(Web, app.web).web_app[dead_letters.DESK] = app.desk
    cast(Web, app.web).web_app.on_cleanup.append(lambda _: desk.close())
    cast(Web, app.web).web_app[rules_page.RULES_PROCESS] = RulesProcess(app.settings.line)
    cast(Web, app.web).web_app[rules_page.LINE_COUNTS] = LineCounts()
    checker = cast(Web, app.web).web_app[rules_publishing.CHECKER] = TableChecker()
    cast(Web, app.web).web_app.on_cleanup.append(lambda _: checker.close())
    archive = JourneyArchive(app.cluster, app.line_topics)
    cast(Web, app.web).web_app[journeys.JOURNEYS] = journeys.Journeys(app, archive)
    cast(Web, app.web).web_app.on_cleanup.append(lambda _: archive.aclose())
    board = ComparisonBoard(app.cluster, app.line_topics, app.foreign)
    compared = cast(Web, app.web).web_app[comparison_views.COMPARISONS] = Comparisons(board)
    cast(Web, app.web).web_app.on_cleanup.append(lambda _: compared.close())
    access = cast(Web, app.web).web_app[ACCESS] = Access(app)
    cast(Web, app.web).web_app[MAY_READ] = access.may_read
    cast(Web, app.web).web_app.middlewares.append(access.middleware())
    app.page("/")(IndexView)  # before Faust's own index, which answers OK whatever happens
    app.page("/health/live")(LiveView)
    app.page("/health/ready")(ReadyView)
    app.page("/metrics")(MetricsView)
    app.page("/traffic/")(TrafficView)
    app.page("/api/live")(LiveFiguresView)
    app.page("/api/stop")(StopDetailsView)
    app.page("/journal/")(JournalView)
    add_stream(app)
    add_static_files(cast(Web, app.web).web_app)
    app.page("/table")(TableList)
    app.page("/api/openapi.json")(OpenApiView)
    app.page("/login")(LoginView)
    app.page("/logout")(LogoutView)
    app.web.blueprints.add("/table", blueprint)
    app.page("/journeys")(journeys.JourneyList)
    app.web.blueprints.add("/journeys", journeys.blueprint)
    app.web.blueprints.add("/dead-letters", dead_letters.blueprint)
    app.web.blueprints.add("/rules", rules_publishing.blueprint)
    app.web.blueprints.add("/rules", rules_page.blueprint)
    app.web.blueprints.add("/compare", comparison_views.blueprint)
    app.web.blueprints.add("/api/rules", rules_publishing.blueprint)
    app.web.blueprints.add("/api/dead-letters", dead_letters.blueprint)
