"""What every page does alike: JSON for programs, HTML for browsers, escaped and without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import orjson
from faust import web

from metroline.app.markup.html import Markup
from metroline.app.views.page import frame

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

FRESH = {"Cache-Control": "no-store", "Vary": "Accept"}
CLOSED = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
"""Records come from outside: were one ever taken for markup, it could still load and run nothing."""


def wants_html(request: web.Request) -> bool:
    """Whether a browser asks; `?format=json` shows a browser what programs get."""
    asked = request.query.get("format")
    return asked == "html" if asked else "text/html" in request.headers.get("Accept", "")


class LineView(web.View):
    """A page of a worker."""

    @property
    def worker(self) -> LineApp:
        return cast("LineApp", self.app)

    def answer(
        self, request: web.Request, title: str, data: dict[str, Any], body: Callable[[], Markup], status: int = 200
    ) -> web.Response:
        """The page's data as JSON or, for a browser, what `body` makes of it."""
        if not wants_html(request):
            return self.bytes(
                orjson.dumps(data, option=orjson.OPT_INDENT_2),
                content_type="application/json",
                status=status,
                headers=dict(FRESH),
            )
        worker = self.worker
        page = frame(title, worker.line.name, str(worker.conf.canonical_url), str(request.url.path), body())
        return self.html(page, status=status, headers={**FRESH, **CLOSED})
