"""Who sent a request: what the check at the doors of the web server has found out, for pages and forms."""

from __future__ import annotations

from typing import cast

from aiohttp.web import Request as AiohttpRequest
from aiohttp.web import RequestKey
from faust import web

from metroline.app.operations.permission import Permission
from metroline.app.web_server.logins import Login

PERMISSION = RequestKey("permission", Permission)
"""The key under which a request that may write has its permission."""

LOGIN = RequestKey("login", Login)
"""The key under which a request has the login of the browser that sent it."""

CAN_LOG_IN = RequestKey("can_log_in", bool)
"""The key under which a request has whether this worker has a token, so that people can log in."""


def permission_of(request: web.Request) -> Permission:
    """Return the permission with which a request writes: operations demand it.

    Raise KeyError for a request to read, which has none.
    """
    return cast(AiohttpRequest, request)[PERMISSION]


def login_of(request: web.Request) -> Login | None:
    """Return the login of the browser that sent a request; None if nobody is logged in there."""
    return cast(AiohttpRequest, request).get(LOGIN)


def can_log_in(request: web.Request) -> bool:
    """Return whether a login would change what a browser may do: it has none, and this worker has a token."""
    asked = cast(AiohttpRequest, request)
    return asked.get(CAN_LOG_IN, False) and LOGIN not in asked
