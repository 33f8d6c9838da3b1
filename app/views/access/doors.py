"""The check at the doors of the web server: who may read a page, and who may write, for every route alike.

A route is closed unless it is listed here. Operations demand the permission again when they write.
"""

from __future__ import annotations

import logging
import time
from enum import Enum, auto
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, cast

from aiohttp.typedefs import Handler, Middleware
from aiohttp.web import AppKey, Request, StreamResponse, middleware
from faust import web

from metroline.app.markup.html import Markup, tag
from metroline.app.operations.permission import NotPermitted, Permission
from metroline.app.views.access.forms import FORM_TOKEN, FORM_TYPE, BadForm, form_of, login_path
from metroline.app.views.access.kept_forms import login_form, refused_form
from metroline.app.views.access.visitor import CAN_LOG_IN, LOGIN, PERMISSION
from metroline.app.views.view import html_page, wants_html
from metroline.app.web_server.answers import refusal
from metroline.app.web_server.guesses import Guesses
from metroline.app.web_server.host_names import is_loopback
from metroline.app.web_server.logins import MAX_NAME, WORKER_SCHEME, Login, Logins, is_same, logins_of
from metroline.app.web_server.origins import is_from_elsewhere, is_proxied

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

OVER_HTTP = "over HTTP"
"""Name of a program that bears the token and does not say who it is."""

BEARER = "Bearer "
"""The beginning of the header `Authorization` of programs."""

NAME_HEADER = "Metroline-User"
"""The header by which a program says in whose name it writes."""

FORM_TOKEN_HEADER = "Metroline-Form-Token"
"""The header by which a script of our own pages sends the token of its login."""

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods by which nothing is written."""

READING_BY_POST = ("/rules/", "/rules/check/", "/api/rules/check/")
"""The paths to which questions go that are too long for an address. Nothing is written there."""

LOGIN_PATH = "/login"

OPEN = ("/metrics", LOGIN_PATH)
"""The paths whose pages everybody may read: for scrapers, and the way in."""

OPEN_BELOW = ("/health/", "/static/")
"""Beginnings of further ones: for probes, and what pages are made of."""

WRITING_OFF = "writing over HTTP is off: set METROLINE_TOKEN to allow it"
NO_TOKEN = "the header Authorization: Bearer TOKEN is missing or wrong"
NO_LOGIN = f"{NO_TOKEN}, and nobody is logged in: log in at /login"
FROM_ELSEWHERE = "a page of another site sent this request: only this site's own pages and programs may write"
OLD_FORM = "the form is not of this login: open its page again"
STILL_THERE = "Nothing was done with what you typed. It is shown again when you go on from here."
TOO_MANY = "too many wrong tokens: try again in {} s"

log = logging.getLogger(__name__)


class Door(Enum):
    """The kinds of routes."""

    OPEN = auto()
    """Everybody may use it."""
    READ = auto()
    """It is read by everybody on this machine, and by whoever is logged in."""
    WRITE = auto()
    """It writes, and needs a login in any case."""


class Refused(NotPermitted):
    """Raised for a request of somebody who may not read or write, with the status of the answer."""

    def __init__(self, status: HTTPStatus, reason: str, wait: float = 0.0) -> None:
        """`wait` is the time in seconds after which another try makes sense."""
        super().__init__(reason)
        self.status = status
        self.headers: dict[str, str] = {}
        if status == HTTPStatus.UNAUTHORIZED:
            self.headers["WWW-Authenticate"] = 'Bearer realm="metroline"'
        if wait:
            self.headers["Retry-After"] = str(ceil(wait))


def door_of(method: str, path: str) -> Door:
    """Return the kind of the route with this method and path."""
    is_open = path in OPEN or path.startswith(OPEN_BELOW)
    if is_open and (method in READING or path == LOGIN_PATH):
        return Door.OPEN
    reads = method in READING or (method == "POST" and path in READING_BY_POST)
    return Door.READ if reads else Door.WRITE


class Access:
    """Who may read and write over the web server of a worker."""

    def __init__(self, app: LineApp, guesses: Guesses | None = None) -> None:
        """Take the wrong tokens so far; by default there are none."""
        self._app = app
        self.guesses = guesses or Guesses(time.monotonic)
        self.logins()  # deriving the key takes a moment: before records flow

    def logins(self) -> Logins | None:
        """Return the logins of the line; None without a token."""
        return logins_of(self._app.settings.metroline_token, self._app.line_topics.prefix)

    def middleware(self) -> Middleware:
        """Return the middleware that lets requests through to the pages."""

        @middleware
        async def let_through(request: Request, handler: Handler) -> StreamResponse:
            if request.match_info.http_exception is not None:  # there is no page
                return await handler(request)
            try:
                await self._check(request)
                return await handler(request)
            except NotPermitted as error:
                return await self._answer(request, error)

        return let_through

    def may_read(self, request: Request) -> bool:
        """Return whether a request may read the pages.

        A wrong token is not counted as a guess here: the check that follows does that. While there were too many
        guesses, the right token is not told from a wrong one.
        """
        logins = self.logins()
        if logins is None or self._is_near(request) or self._login(request) is not None:
            return True
        given = request.headers.get("Authorization", "")
        return self.guesses.wait(request.remote) <= 0 and logins.is_token(_bearer_token(given))

    def check_token(self, request: Request, token: str, told: str) -> None:
        """Raise `Refused`, which says what is `told`, unless this is the token, or if guesses are too many."""
        logins = self.logins()
        if logins is None:
            raise Refused(HTTPStatus.FORBIDDEN, WRITING_OFF)
        if (wait := self.guesses.wait(request.remote)) > 0:
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY.format(ceil(wait)), wait)
        if not logins.is_token(token):
            self.guesses.missed(request.remote)
            log.warning("%s sent a wrong token to the web server", request.remote)
            raise Refused(HTTPStatus.UNAUTHORIZED, told)
        self.guesses.hit(request.remote)

    async def _check(self, request: Request) -> None:
        """Raise `Refused` unless a request may have what it asks for; note who sent it."""
        resource = request.match_info.route.resource
        door = door_of(request.method, "" if resource is None else resource.canonical)
        if request.method not in READING and is_from_elsewhere(request.headers):
            raise Refused(HTTPStatus.FORBIDDEN, FROM_ELSEWHERE)
        self._note_login(request)
        if door is Door.WRITE:
            request[PERMISSION] = await self._permission(request)
            request[PERMISSION].demand()  # before a body is read; the operation demands it again
        elif door is Door.READ:
            self._check_reader(request)

    def _note_login(self, request: Request) -> None:
        request[CAN_LOG_IN] = self.logins() is not None
        login = self._login(request)
        if login is not None:
            request[LOGIN] = login

    def _login(self, request: Request) -> Login | None:
        """Return the login of the browser that sent a request; None if nobody is logged in there."""
        logins = self.logins()
        cookie = None if logins is None else request.cookies.get(logins.cookie)
        return logins.login(cookie, time.time()) if logins is not None and cookie else None

    def _is_near(self, request: Request) -> bool:
        """Return whether a request comes from this machine alone."""
        return is_loopback(self._app.settings.web_bind) and not is_proxied(request.headers)

    async def _permission(self, request: Request) -> Permission:
        """Return the permission to write of whoever sent a request, or the reason why there is none."""
        try:
            if self.logins() is None:
                raise Refused(HTTPStatus.FORBIDDEN, WRITING_OFF)
            login = request.get(LOGIN)
            if login is None or "Authorization" in request.headers:
                self._check_bearer(request)
                return Permission.granted(name_over_http(request.headers.get(NAME_HEADER, "")))
            await _check_form(request, login)
            return Permission.granted(name_over_http(login.name))
        except Refused as error:
            return Permission.refused(error)

    def _check_bearer(self, request: Request) -> None:
        given = request.headers.get("Authorization")
        if given is None:
            raise Refused(HTTPStatus.UNAUTHORIZED, NO_LOGIN)
        if given.startswith(WORKER_SCHEME):  # a pass that opens nothing here, and no guess of the token
            raise Refused(HTTPStatus.UNAUTHORIZED, NO_TOKEN)
        self.check_token(request, _bearer_token(given), NO_TOKEN)

    def _check_reader(self, request: Request) -> None:
        """Raise `Refused` unless a request may read the pages."""
        logins = self.logins()
        if logins is None or LOGIN in request:
            return
        if self._is_near(request):
            return
        given = request.headers.get("Authorization", "")
        url = str(self._app.conf.canonical_url)
        if not (
            given.startswith(WORKER_SCHEME)
            and logins.is_worker_pass(given.removeprefix(WORKER_SCHEME), url, time.time())
        ):
            self._check_bearer(request)

    async def _answer(self, request: Request, error: NotPermitted) -> StreamResponse:
        """Return the answer to somebody who may not: one line of JSON or, for a browser, a page with the way in."""
        status, headers = HTTPStatus.FORBIDDEN, dict[str, str]()
        if isinstance(error, Refused):
            status, headers = error.status, error.headers
        asked = cast(web.Request, request)
        if not wants_html(asked):
            return refusal(status, str(error), headers)
        if status == HTTPStatus.UNAUTHORIZED and request.method in READING:
            return refusal(HTTPStatus.SEE_OTHER, str(error), {"Location": login_path(request.path_qs)})
        body = Markup(tag("p", str(error), class_="warning") + await self._way_on(asked, error))
        answer = cast(StreamResponse, html_page(self._app, asked, "Not done", body, status))
        answer.headers.update({name: value for name, value in headers.items() if name != "WWW-Authenticate"})
        return answer

    async def _way_on(self, request: web.Request, error: NotPermitted) -> Markup:
        """Return the way in, or the way back to a form of another login, with what was typed where it is kept."""
        kept = await refused_form(request)
        if isinstance(error, Refused) and error.status == HTTPStatus.UNAUTHORIZED:
            if kept is None:
                return tag("p", tag("a", "Log in", href="/login"))
            return Markup(tag("p", STILL_THERE) + login_form("/", kept=kept))
        return Markup() if kept is None or str(error) != OLD_FORM else kept.way_on(STILL_THERE)


async def _check_form(request: Request, login: Login) -> None:
    """Raise `Refused` unless a request that bears a cookie also bears the token of its form."""
    given = request.headers.get(FORM_TOKEN_HEADER)
    if given is None and request.content_type == FORM_TYPE:
        try:
            given = (await form_of(cast(web.Request, request))).get(FORM_TOKEN)
        except BadForm as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from error
        except TimeoutError as error:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "the form did not come in time") from error
    if given is None or not is_same(given, login.form_token):
        raise Refused(HTTPStatus.FORBIDDEN, OLD_FORM)


def _bearer_token(given: str) -> str:
    """Return the token in a header `Authorization`; empty if it bears none."""
    scheme, token = given[: len(BEARER)], given[len(BEARER) :].strip()
    return token if scheme.lower() == BEARER.lower() else ""


def clean_name(given: str) -> str:
    """Return a name on one line, without what a terminal would obey, and not too long."""
    printable = "".join(letter if letter.isprintable() else " " for letter in given)
    return " ".join(printable.split())[:MAX_NAME]


def name_over_http(given: str) -> str:
    """Return the name to record of somebody who gave this one: nobody has checked that it is theirs."""
    return f"{clean_name(given)} {OVER_HTTP}".strip()


ACCESS = AppKey("access", Access)
"""The key under which the web application keeps the check."""
