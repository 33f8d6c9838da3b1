"""Forms of pages: each sends the token of its login, and who is not logged in sees the way in."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest
from aiohttp.test_utils import make_mocked_request
from faust import web

from metroline.app.markup.html import tag
from metroline.app.views.access.forms import MAX_FIELDS, BadForm, fields_in, form
from metroline.app.views.access.visitor import CAN_LOG_IN, LOGIN
from metroline.app.web_server.logins import Login
from tests.support.html_reader import HtmlReader

PATH = "/dead-letters?group=4be3b2&after=<b>"
ADA = Login("ada", int(time.time()) + 60, "0123abcd")


def request(login: Login | None = None, can_log_in: bool = True) -> Any:
    asked = make_mocked_request("GET", PATH)
    asked[CAN_LOG_IN] = can_log_in
    if login is not None:
        asked[LOGIN] = login
    return cast(web.Request, asked)


def test_a_form_posts_the_token_of_its_login() -> None:
    read = HtmlReader(form(request(ADA), "/dead-letters/replay/", tag("button", "Replay <all>"), class_="replay"))
    assert read.elements[0] == ("form", {"method": "post", "action": "/dead-letters/replay/", "class": "replay"})
    assert read.elements[1] == ("input", {"type": "hidden", "name": "form_token", "value": ADA.form_token})
    assert read.words == "Replay <all>"
    assert read.open == []


@pytest.mark.parametrize("can_log_in", [True, False])
def test_who_is_not_logged_in_gets_the_way_in_if_there_is_one(can_log_in: bool) -> None:
    read = HtmlReader(form(request(can_log_in=can_log_in), "/dead-letters/replay/", tag("button", "Replay")))
    assert "form" not in read.names
    links = read.attributes("a", "href")
    assert links == (["/login?next=%2Fdead-letters%3Fgroup%3D4be3b2%26after%3D%253Cb%253E"] if can_log_in else [])
    assert ("METROLINE_TOKEN" in read.words) is not can_log_in


def test_the_fields_of_a_form_are_those_that_were_sent() -> None:
    assert fields_in(b"name=ad%C3%A4+b&empty=&twice=1&twice=2") == {"name": "adä b", "empty": "", "twice": "2"}


@pytest.mark.parametrize("raw", [b"name=\xff", b"name=%FF", b"&".join([b"a=1"] * (MAX_FIELDS + 1))])
def test_what_is_no_form_in_utf_8_is_refused(raw: bytes) -> None:
    with pytest.raises(BadForm, match="is not a form in UTF-8 with at most 1,000 fields"):
        fields_in(raw)
