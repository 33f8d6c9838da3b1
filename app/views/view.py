"""Answers requests alike on every page: JSON for programs, and HTML for browsers that runs our own scripts alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from aiohttp.web import Response as AiohttpResponse
from faust import web
from msgspec import json

from metroline.app.markup.html import Markup
from metroline.app.views.access.forms import login_note
from metroline.app.views.operation import Operation
from metroline.app.views.page import document

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

NOT_STORED = {"Cache-Control": "no-store", "Vary": "Accept"}
STYLED = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; "
    "script-src 'self'; worker-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:"
}
"""A page for browsers runs our own scripts, which are files of this worker, and nothing that stands in the page."""


def wants_html(request: web.Request) -> bool:
    """Return whether a browser asks. `?format=json` shows a browser what programs get."""
    asked = request.query.get("format")
    return asked == "html" if asked else "text/html" in request.headers.get("Accept", "")


def html_page(
    worker: LineApp,
    request: web.Request,
    title: str,
    body: Markup,
    status: int = 200,
    extra: Markup | None = None,
) -> web.Response:
    """Return a page for a browser. `extra` are the scripts and styles that it loads from this worker."""
    url, path = str(worker.conf.canonical_url), str(request.url.path)
    as_json = f"?{request.url.update_query(format='json').raw_query_string}"
    login = login_note(request)
    page = document(title, worker.line.name, url, path, body, as_json=as_json, extra=extra, login=login)
    headers = {**NOT_STORED, **STYLED}
    return cast(web.Response, AiohttpResponse(text=page, content_type="text/html", status=status, headers=headers))


class LineView(web.View):
    """A page of a worker."""

    api: ClassVar[tuple[Operation, ...]] = ()
    """The operations of the page that programs use, for the OpenAPI document."""

    @property
    def worker(self) -> LineApp:
        return cast("LineApp", self.app)

    def json_of(self, data: object, status: int = 200) -> web.Response:
        """Return the data of a page that only programs and scripts read, as JSON."""
        body = json.format(json.encode(data), indent=2)
        return self.bytes(body, content_type="application/json", status=status, headers=dict(NOT_STORED))

    def answer(
        self,
        request: web.Request,
        title: str,
        data: object,
        body: Callable[[], Markup],
        status: int = 200,
        extra: Markup | None = None,
    ) -> web.Response:
        """Return the data of a page, a struct or a dict, as JSON; a browser gets what `body` makes of it.

        `extra` are the scripts and styles that the page loads from this worker.
        """
        if not wants_html(request):
            return self.json_of(data, status)
        return html_page(self.worker, request, title, body(), status, extra)
