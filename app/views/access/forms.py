"""Forms that write: each sends the token of its login, which no page of another site knows."""

from __future__ import annotations

import asyncio
from typing import cast
from urllib.parse import parse_qsl, urlencode

from aiohttp.web import Request as AiohttpRequest
from faust import web

from metroline.app.markup.html import Markup, markup, tag
from metroline.app.views.access.visitor import can_log_in, login_of
from metroline.routing.errors import UsageError

FORM_TOKEN = "form_token"
"""The field of a form with the token of its login."""

FORM_TYPE = "application/x-www-form-urlencoded"
"""The type of the body that a browser makes of a form."""

MAX_FIELDS = 1_000
"""Number of fields that a form may have."""

BODY_SECONDS = 10.0
"""Time that a client has to send the body of a request."""

OFF = "Nothing can be written here: this worker has no METROLINE_TOKEN."


class BadForm(UsageError):
    """Raised for a body that is not a form."""


def form(request: web.Request, action: str, *parts: object, **attributes: object) -> Markup:
    """Return a form that posts its fields to a path of this site, for whoever is logged in.

    In its place, others get the way to the login, which leads back to the page of `request`.
    """
    login = login_of(request)
    if login is None:
        return tag("p", login_link(request, "Log in to do this") if can_log_in(request) else OFF, class_="login")
    token = tag("input", type="hidden", name_=FORM_TOKEN, value=login.form_token)
    return tag("form", token, parts, method="post", action=action, **attributes)


def access_note(request: web.Request) -> Markup:
    """Return a sentence on whether the visitor of a page may write, with the way to the login if that is missing."""
    login = login_of(request)
    if login is not None:
        return tag("p", f"You are logged in as {login.name}, and may do all of this.")
    if can_log_in(request):
        return tag("p", "You may look at everything. ", login_link(request, "Log in to change something"), ".")
    return tag("p", OFF)


def login_link(request: web.Request, text: str) -> Markup:
    """Return a link to the login, which leads back to the page of `request`, or to the first page from a form."""
    asked = cast(AiohttpRequest, request)
    return tag("a", text, href=login_path(asked.path_qs if asked.method in ("GET", "HEAD") else "/"))


def login_path(following: str) -> str:
    """Return the path of the login that leads to the path `following`."""
    return f"/login?{urlencode({'next': following})}"


def login_note(request: web.Request) -> Markup | None:
    """Return the footer's word on the login: who is logged in, or the way in. It is None without a token."""
    login = login_of(request)
    if login is not None:
        out = form(request, "/logout", tag("button", "Log out"), class_="logout")
        return markup([f"Logged in as {login.name} ", out])
    return login_link(request, "Log in") if can_log_in(request) else None


async def form_of(request: web.Request) -> dict[str, str]:
    """Return the fields of the form that a request sends; of fields with one name, the last.

    Raise `BadForm` for another body, `TimeoutError` if it does not come in time, and aiohttp's
    `HTTPRequestEntityTooLarge` if it is too large.
    """
    asked = cast(AiohttpRequest, request)
    if asked.content_type != FORM_TYPE:
        raise BadForm(f"the body must be a form, of the type {FORM_TYPE}")
    async with asyncio.timeout(BODY_SECONDS):
        return fields_in(await asked.read())


def fields_in(raw: bytes) -> dict[str, str]:
    """Return the fields of the form in a body, also the empty ones; of fields with one name, the last.

    Raise `BadForm`. Bytes that are not UTF-8 are refused: replaced by others, they would be stored or sent on.
    """
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"))
    except ValueError as error:  # not UTF-8, or too many fields
        raise BadForm(f"the body is not a form in UTF-8 with at most {MAX_FIELDS:,} fields") from error
