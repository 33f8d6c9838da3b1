"""Forms that came after their login had ended: what was typed goes through the login, and is looked at again.

It is kept in the page that the browser shows, and nowhere else. It never leads straight to a write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from aiohttp.web import Request as AiohttpRequest
from faust import web
from msgspec import Struct

from metroline.app.markup.html import Markup, tag
from metroline.app.views.access.forms import FORM_TOKEN, FORM_TYPE, BadForm, form_of
from metroline.app.web_server.logins import MAX_NAME

PREFIX = "kept."
"""The beginning of the names that the fields have in the form of the login."""

LOOKS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "/rules/": ("/rules/", {}),
    "/rules/publish/": ("/rules/", {"ask": "preview"}),
}
"""The paths whose forms are kept, each with the path that shows such a form again and writes nothing, and with the
fields that it is to have there."""

NEXT = "next"
"""The field of the login with the path to go on with."""


class KeptForm(Struct, frozen=True):
    """A form that is to be looked at again."""

    path: str
    """The path that shows it."""
    fields: Mapping[str, str]

    def in_login(self) -> list[Markup]:
        """Return the fields as those of the form of the login."""
        return [_hidden(f"{PREFIX}{name}", value) for name, value in self.fields.items()]

    def way_on(self, text: str) -> Markup:
        """Return a button that shows the form again."""
        fields = [_hidden(name, value) for name, value in self.fields.items()]
        button = tag("button", "Look at it again", autofocus="")
        return tag("form", tag("p", text), fields, button, method="post", action=self.path)


async def refused_form(request: web.Request) -> KeptForm | None:
    """Return the form in a request that was refused; None if it is none that can be looked at again."""
    asked = cast(AiohttpRequest, request)
    look = LOOKS.get(asked.path)
    if look is None or asked.method != "POST" or asked.content_type != FORM_TYPE:
        return None
    try:
        fields = await form_of(request)  # the gate has read it, within bounds
    except (BadForm, TimeoutError):
        return None
    fields.pop(FORM_TOKEN, None)
    path, more = look
    return KeptForm(path, {**fields, **more})


def form_in_login(fields: Mapping[str, str]) -> KeptForm | None:
    """Return the form that goes through the login in these fields; None if there is none."""
    kept = {name.removeprefix(PREFIX): value for name, value in fields.items() if name.startswith(PREFIX)}
    path = fields.get(NEXT, "")
    return KeptForm(path, kept) if kept and any(path == look for look, _ in LOOKS.values()) else None


def login_form(following: str, name: str = "", kept: KeptForm | None = None) -> Markup:
    """Return the form of the login. It needs no token of its own: whoever sends it must know that of the line."""
    user = tag("input", name_="name", value=name, maxlength=MAX_NAME, required="", autocomplete="username")
    token = tag("input", name_="token", type="password", required="", autocomplete="current-password")
    return tag(
        "form",
        _hidden(NEXT, following if kept is None else kept.path),
        [] if kept is None else kept.in_login(),
        tag("label", "Your name", user),
        tag("label", "Token", token),
        tag("button", "Log in"),
        method="post",
        action="/login",
        class_="login",
    )


def _hidden(name: str, value: str) -> Markup:
    return tag("input", type="hidden", name_=name, value=value)
