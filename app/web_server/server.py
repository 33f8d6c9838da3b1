"""Faust's web server with our pages alone, and with bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from aiohttp.web import Application
from faust.types import AppT
from faust.web.drivers.aiohttp import Web

from metroline.app.web_server.answers import protect
from metroline.app.web_server.connections import Bounds, Runner
from metroline.app.web_server.gate import gate
from metroline.app.web_server.host_names import HostNames

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Maximum size of the body of a request. Without a token, only the smaller ones that the gate knows are read."""

SHUTDOWN_SECONDS = 5.0
"""Time that requests have to end when a worker stops."""

Blueprints = Iterable[tuple[str, str]]


class WebServer(Web):
    """The web server of a worker. Faust's own pages, which show what belongs to nobody else, are left out."""

    default_blueprints: ClassVar[Blueprints] = ()
    production_blueprints: ClassVar[Blueprints] = ()
    debug_blueprints: ClassVar[Blueprints] = ()
    optional_blueprints: ClassVar[Blueprints] = ()

    def __init__(self, app: AppT, hosts: Callable[[], HostNames]) -> None:
        """`hosts` returns the names by which the server may be addressed."""
        super().__init__(app)
        self.web_app = Application(client_max_size=MAX_BODY_BYTES, middlewares=[gate(hosts)])
        self.web_app.on_response_prepare.append(protect)
        self._runner = Runner(self.web_app, Bounds(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
