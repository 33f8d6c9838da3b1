"""The gate of the web server, through which every request goes before a page sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext
from http import HTTPStatus

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web import (
    AppKey,
    HTTPException,
    HTTPRequestEntityTooLarge,
    Request,
    Response,
    StreamResponse,
    middleware,
)
from aiohttp.web_protocol import RequestPayloadError

from metroline.app.web_server.answers import phrase_of, refusal
from metroline.app.web_server.connections import Connection
from metroline.app.web_server.host_names import HostNames

MAX_AT_WORK = 16
"""Requests that are answered at once; others wait for their turn. The loop that carries the records answers them."""

URGENT = "/health/"
"""Beginning of the paths that do not wait: an orchestrator restarts a worker that does not answer them in time."""

STREAMS = frozenset({"/api/live/stream"})
"""Paths of answers that do not end. They take no turn, since they bound their own number."""

TABLE_BYTES, LOGIN_BYTES = 1024 * 1024, 8 * 1024
"""Maximum size of the body with a rules table, and of that of a login without the form that goes through it."""

FORMS = {"/login": TABLE_BYTES + LOGIN_BYTES} | dict.fromkeys(("/rules/", "/rules/publish/"), TABLE_BYTES)
"""The paths whose bodies everybody may send, with their maximum size: the login, and forms that go through it."""

QUESTIONS = dict.fromkeys(("/rules/check/", "/api/rules/check/"), TABLE_BYTES)
"""The paths whose bodies whoever may read the pages may send, with their maximum size.

Both kinds are read before a request has its turn: whoever sends one slowly keeps nobody from theirs, and is cut off as
for a request that does not come whole.
"""

MAX_STRANGERS = 8
"""Maximum number of bodies above `LOGIN_BYTES` of those who may not read the pages that are held at once."""

MAY_READ = AppKey[Callable[[Request], bool]]("may_read")
"""The key under which the application keeps who may read the pages. Others fill no memory with what they send."""

UNREADABLE = "the body cannot be read"

log = logging.getLogger(__name__)


def gate(hosts: Callable[[], HostNames], max_at_work: int = MAX_AT_WORK) -> Middleware:
    """Return the middleware that refuses requests for other hosts, and answers every error in JSON."""

    turns, strangers = asyncio.Semaphore(max_at_work), asyncio.Semaphore(MAX_STRANGERS)

    async def in_turn(request: Request, handler: Handler) -> StreamResponse:
        if (size := _size_of_body(request)) is not None:
            request = request.clone(client_max_size=size)
            if (problem := await _unread(request)) is not None:
                return problem
        async with turns:
            if request.transport is None:
                return refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the client has gone")
            return await _answered(request, handler)

    @middleware
    async def let_in(request: Request, handler: Handler) -> StreamResponse:
        if not all(map(hosts().allow, request.headers.getall("Host", []))):
            return refusal(
                HTTPStatus.MISDIRECTED_REQUEST, "the header Host names another host: set WEB_ALLOWED_HOSTS to allow it"
            )
        if request.path.startswith(URGENT) or request.path in STREAMS:
            return await _answered(request, handler)
        if not _is_large_form_of_stranger(request):
            return await in_turn(request, handler)
        if strangers.locked():
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many send long forms without a login")
        async with strangers:
            return await in_turn(request, handler)

    return let_in


def _is_reader(request: Request) -> bool:
    may_read = request.app.get(MAY_READ)
    return may_read is None or may_read(request)


def _is_large_form_of_stranger(request: Request) -> bool:
    if request.path not in FORMS or not request.body_exists:
        return False
    is_short = request.content_length is not None and request.content_length <= LOGIN_BYTES
    return not is_short and not _is_reader(request)


def _size_of_body(request: Request) -> int | None:
    """Return the maximum size of a body that is read at once; None if the page reads it, or refuses the request."""
    return FORMS.get(request.path) or (QUESTIONS.get(request.path) if _is_reader(request) else None)


async def _unread(request: Request) -> Response | None:
    """Read the body of a request; return the answer to one that cannot be read."""
    try:
        await request.read()
    except HTTPRequestEntityTooLarge as error:
        return refusal(error.status, phrase_of(error.status))
    except (RequestPayloadError, HttpProcessingError):
        return refusal(HTTPStatus.BAD_REQUEST, UNREADABLE)
    return None


async def _answered(request: Request, handler: Handler) -> StreamResponse:
    connection = request.protocol
    try:
        with connection.at_work() if isinstance(connection, Connection) else nullcontext():
            return await handler(request)
    except HTTPException as error:
        kept = {name: value for name, value in error.headers.items() if name in ("Allow", "Location")}
        return refusal(error.status, phrase_of(error.status), kept)
    except (RequestPayloadError, HttpProcessingError):
        return refusal(HTTPStatus.BAD_REQUEST, UNREADABLE)
    except Exception:  # whatever a page raises, the client gets an answer
        log.exception("%s %s could not be answered", request.method, request.path)
        return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "an internal error, which the worker's log describes")
