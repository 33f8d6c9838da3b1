"""The headers of every answer of the web server, and answers that refuse a request."""

from __future__ import annotations

from http import HTTPStatus

import orjson
from aiohttp.web import BaseRequest, Response, StreamResponse

SERVER = {"Server": "metroline"}
"""In place of aiohttp's header, which names aiohttp and Python with their versions."""

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with "no-referrer" our own forms would say `Origin: null`, as foreign ones do
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""The headers of every answer, unless a page sets its own. Records come from outside: even if a browser took one for
markup, it could load and run nothing, and no other page can frame or read it."""


async def protect(_: BaseRequest, response: StreamResponse) -> None:
    """Add the security headers to an answer that is about to be sent."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.update(SERVER)


def refusal(status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    """Return an answer that says in JSON what is wrong, with all security headers."""
    return Response(
        body=orjson.dumps({"error": error.encode(errors="replace").decode()}),
        status=status,
        content_type="application/json",
        headers=SECURITY_HEADERS | SERVER | (headers or {}),
    )


def phrase_of(status: int) -> str:
    """Return the standard text of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
