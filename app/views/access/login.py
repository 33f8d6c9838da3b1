"""Logging in and out: `/login` and `/logout`, which work without scripts."""

from __future__ import annotations

import logging
import re
import time
from http import HTTPStatus
from typing import cast

from aiohttp.web import Request as AiohttpRequest
from aiohttp.web import Response as AiohttpResponse
from faust import web
from msgspec import Struct

from metroline.app.markup.html import Markup, tag
from metroline.app.markup.times import iso
from metroline.app.views.access.doors import ACCESS, Access, Refused, clean_name
from metroline.app.views.access.forms import OFF, BadForm, form, form_of, login_path
from metroline.app.views.access.kept_forms import NEXT, KeptForm, form_in_login, login_form
from metroline.app.views.access.visitor import LOGIN, login_of
from metroline.app.views.operation import Error, Operation
from metroline.app.views.view import LineView, html_page, wants_html
from metroline.app.web_server.logins import LOGIN_SECONDS
from metroline.app.web_server.origins import is_encrypted

OWN_PATH = re.compile(r"/(?![/\\])[!-~]{0,2000}")
"""A path of this site: browsers take what begins with two slashes for the name of another one."""

LOGIN_REFUSALS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.TOO_MANY_REQUESTS,
)
"""The statuses with which a login is refused."""

KEPT = "What you typed before is still there. Nothing has been done with it."

WRONG = "This is not the token: METROLINE_TOKEN of the workers has it."

log = logging.getLogger(__name__)


class LoginState(Struct, frozen=True):
    """The login of a browser."""

    can_log_in: bool
    """True if this worker has a token."""
    name: str | None
    """Name of whoever is logged in; None if nobody is."""
    until: str | None
    """Time until which the login holds."""
    form_token: str | None
    """The token that a form or a script of these pages sends with what it writes."""


class LoginForm(Struct, frozen=True):
    """The form of the login."""

    name: str
    token: str
    next: str = "/"
    """Path to go on with."""


class LoginView(LineView):
    """The form by which people log in; for programs the state of the login."""

    api = (
        Operation("get", "Login of the browser that asks", LoginState),
        Operation(
            "post",
            "Log in with the token and a name",
            None,
            body=LoginForm,
            others=dict.fromkeys(LOGIN_REFUSALS, Error),
            is_form=True,
        ),
    )

    async def get(self, request: web.Request) -> web.Response:
        login, can = login_of(request), self.access(request).logins() is not None
        following = own_path(request.query.get("next"))
        if login is not None and "next" in request.query and wants_html(request):
            return _go_to(following)
        state = LoginState(can, None, None, None)
        if login is not None:
            state = LoginState(can, login.name, iso(login.expires), login.form_token)
        return self.answer(request, "Login", state, lambda: self._show(request, following))

    async def post(self, request: web.Request) -> web.Response:
        asked = cast(AiohttpRequest, request)
        try:
            given = await form_of(request)  # the gate has read it, within bounds
        except BadForm as error:
            return self.refuse(request, Refused(HTTPStatus.BAD_REQUEST, str(error)))
        following, name, kept = own_path(given.get(NEXT)), clean_name(given.get("name", "")), form_in_login(given)
        access = self.access(request)
        try:
            access.check_token(asked, given.get("token", "").strip(), WRONG)
        except Refused as error:
            return self.refuse(request, error, following, name, kept)
        if not name:
            nameless = Refused(HTTPStatus.BAD_REQUEST, "Say who you are: the name is recorded with what you do.")
            return self.refuse(request, nameless, following, kept=kept)
        return self._logged_in(request, access, name, following, kept)

    def access(self, request: web.Request) -> Access:
        return cast(AiohttpRequest, request).app[ACCESS]

    def _logged_in(
        self, request: web.Request, access: Access, name: str, following: str, kept: KeptForm | None
    ) -> web.Response:
        """Return the cookie of a login, and lead on; what was typed before is shown for another look."""
        asked, logins = cast(AiohttpRequest, request), access.logins()
        assert logins is not None  # the token was the right one
        log.info("%s logged in to the web server from %s", name, asked.remote)
        cookie = logins.issue(name, time.time())
        answer = _go_to(following)
        if kept is not None and (login := logins.login(cookie, time.time())) is not None:
            asked[LOGIN] = login
            answer = html_page(self.worker, request, "Logged in", kept.way_on(KEPT))
        cast(AiohttpResponse, answer).set_cookie(
            logins.cookie,
            cookie,
            max_age=LOGIN_SECONDS,
            httponly=True,
            samesite="Strict",
            secure=asked.secure or is_encrypted(asked.headers),
        )
        return answer

    def refuse(
        self,
        request: web.Request,
        error: Refused,
        following: str = "/",
        name: str = "",
        kept: KeptForm | None = None,
    ) -> web.Response:
        """Return the form again, with what is wrong."""
        problem = str(error)
        answer = self.answer(
            request,
            "Login",
            {"error": problem},
            lambda: self._show(request, following, problem, name, kept),
            status=error.status,
        )
        cast(AiohttpResponse, answer).headers.update(error.headers)
        return answer

    def _show(
        self,
        request: web.Request,
        following: str,
        problem: str | None = None,
        name: str = "",
        kept: KeptForm | None = None,
    ) -> Markup:
        warning = tag("p", problem, class_="warning", role="alert") if problem else None
        login = login_of(request)
        if login is not None:
            until = tag("p", f"{login.name} is logged in until {iso(login.expires)}.")
            way_on = None if kept is None else kept.way_on(KEPT)
            return Markup(tag("div", warning, until, way_on, form(request, "/logout", tag("button", "Log out"))))
        if self.access(request).logins() is None:
            return tag("p", OFF)
        again = tag("a", "go on", href=login_path(following)) if following != "/" and problem is None else None
        hint = tag("p", "If you are logged in and came by a link from another site, ", again, ".") if again else None
        return tag("div", warning, login_form(following, name, kept), hint)


class LogoutView(LineView):
    """The end of a login."""

    api = (Operation("post", "Log out", None, is_form=True),)

    async def post(self, request: web.Request) -> web.Response:
        answer = _go_to("/login")
        logins = cast(AiohttpRequest, request).app[ACCESS].logins()
        if logins is not None:
            cast(AiohttpResponse, answer).del_cookie(logins.cookie, httponly=True, samesite="Strict")
        return answer


def own_path(given: str | None) -> str:
    """Return a path of this site as it was given; the first page for anything else."""
    return given if given is not None and OWN_PATH.fullmatch(given) else "/"


def _go_to(path: str) -> web.Response:
    headers = {"Location": path, "Cache-Control": "no-store"}
    return cast(web.Response, AiohttpResponse(status=HTTPStatus.SEE_OTHER, headers=headers))
