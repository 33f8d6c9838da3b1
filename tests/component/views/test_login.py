"""Logging in and out, as a browser without scripts does."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from io import BytesIO

import orjson
import pytest
from aiohttp import ClientResponse, ClientSession, DummyCookieJar

from metroline.app.web_server.logins import Logins
from tests.support.html_reader import HtmlReader
from tests.support.web_worker import HTML, TOKEN, Start, WebWorker

EVIL = "<script>alert(1)</script>"


class Browser:
    """A browser that keeps its cookies itself, so that a test sees them."""

    def __init__(self, client: ClientSession) -> None:
        self.client = client
        self.cookies = SimpleCookie()

    async def get(self, url: str) -> ClientResponse:
        return await self._ask("GET", url, {})

    async def post(self, url: str, **fields: str) -> ClientResponse:
        return await self._ask("POST", url, fields)

    async def _ask(self, method: str, url: str, fields: dict[str, str]) -> ClientResponse:
        cookies = {name: morsel.value for name, morsel in self.cookies.items()}
        headers = {**HTML, "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        data = fields if method == "POST" else None
        response = await self.client.request(method, url, data=data, headers=headers, allow_redirects=False)
        await response.read()
        for line in response.headers.getall("Set-Cookie", []):
            self.cookies.load(line)
        return response


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as client:
        yield Browser(client)


@pytest.fixture
async def worker(start: Start) -> WebWorker:
    return await start(web_bind="0.0.0.0", metroline_token=TOKEN)


async def fields_of(response: ClientResponse, action: str) -> dict[str, str]:
    """Return the hidden fields of the form on a page that posts to a path."""
    read = HtmlReader(await response.text())
    assert action in read.attributes("form", "action")
    assert set(read.attributes("form", "method")) == {"post"}
    fields = [attributes for name, attributes in read.elements if name == "input"]
    return {str(one["name"]): str(one["value"]) for one in fields if one.get("type") == "hidden"}


async def test_whoever_logs_in_sees_the_page_that_was_asked_for_and_can_log_out(
    worker: WebWorker, browser: Browser
) -> None:
    refused = await browser.get(f"{worker.url}/table/")
    assert (refused.status, refused.headers["Location"]) == (303, "/login?next=%2Ftable%2F")
    page = await browser.get(worker.url + refused.headers["Location"])
    assert (page.status, (await fields_of(page, "/login"))["next"]) == (200, "/table/")

    done = await browser.post(f"{worker.url}/login", name="Ada", token=f" {TOKEN}\n", next="/table/")
    assert (done.status, done.headers["Location"]) == (303, "/table/")
    shown = await browser.get(f"{worker.url}/table/")
    assert shown.status == 200
    assert "Logged in as Ada" in HtmlReader(await shown.text()).words
    first = await browser.get(worker.url)
    assert "You are logged in as Ada, and may do all of this." in HtmlReader(await first.text()).words

    token = (await fields_of(shown, "/logout"))["form_token"]
    out = await browser.post(f"{worker.url}/logout", form_token=token)
    assert (out.status, out.headers["Location"]) == (303, "/login")
    assert (await browser.get(f"{worker.url}/table/")).status == 303


async def test_the_cookie_is_kept_from_scripts_and_other_sites(worker: WebWorker, browser: Browser) -> None:
    await browser.post(f"{worker.url}/login", name="Ada", token=TOKEN)
    [cookie] = browser.cookies.values()
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert cookie["secure"] == ""
    assert TOKEN not in cookie.value
    assert 0 < int(cookie["max-age"]) <= 86_400


@pytest.mark.parametrize("headers", [{"X-Forwarded-Proto": "https"}, {"Forwarded": "proto=https"}])
async def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_alone(worker: WebWorker, headers: dict[str, str]) -> None:
    url = f"{worker.url}/login"
    given = {"name": "Ada", "token": TOKEN}
    async with worker.client.post(url, data=given, headers=headers, allow_redirects=False) as response:
        assert "; Secure" in response.headers["Set-Cookie"]


async def test_a_login_holds_at_every_worker_with_the_token(start: Start, worker: WebWorker, browser: Browser) -> None:
    await browser.post(f"{worker.url}/login", name="Ada", token=TOKEN)
    same = await start(web_bind="0.0.0.0", metroline_token=TOKEN)
    changed = await start(web_bind="0.0.0.0", metroline_token="another token")
    assert [(await browser.get(f"{one.url}/table/")).status for one in (same, changed)] == [200, 303]


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"name": "Ada", "token": "open barley"}, 401, "This is not the token"),
        ({"name": "Ada"}, 401, "This is not the token"),
        ({"name": " \n ", "token": TOKEN}, 400, "Say who you are"),
    ],
)
async def test_a_wrong_form_is_shown_again_with_what_is_wrong(
    worker: WebWorker, browser: Browser, fields: dict[str, str], status: int, told: str
) -> None:
    response = await browser.post(f"{worker.url}/login", next="/table/", **fields)
    text = await response.text()
    assert response.status == status
    assert told in HtmlReader(text).words
    assert "Set-Cookie" not in response.headers
    assert fields.get("token", TOKEN) not in text


async def test_what_is_sent_to_the_login_is_shown_as_text(worker: WebWorker, browser: Browser) -> None:
    refused = await browser.post(f"{worker.url}/login", name=EVIL, token="x", next=f"/{EVIL}")
    assert EVIL not in await refused.text()
    await browser.post(f"{worker.url}/login", name=EVIL, token=TOKEN)
    shown = await browser.get(f"{worker.url}/table/")
    assert EVIL not in await shown.text()
    assert f"Logged in as {EVIL}" in HtmlReader(await shown.text()).words


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nSet-Cookie: a=b", "/ä", ""]
)
async def test_a_login_leads_to_pages_of_this_site_alone(worker: WebWorker, browser: Browser, elsewhere: str) -> None:
    done = await browser.post(f"{worker.url}/login", name="Ada", token=TOKEN, next=elsewhere)
    assert (done.status, done.headers["Location"]) == (303, "/")
    assert "a=b" not in done.headers.getall("Set-Cookie")


async def test_who_is_logged_in_is_led_on_by_the_login(worker: WebWorker, browser: Browser) -> None:
    await browser.post(f"{worker.url}/login", name="Ada", token=TOKEN)
    led = await browser.get(f"{worker.url}/login?next=/traffic/")
    assert (led.status, led.headers["Location"]) == (303, "/traffic/")
    page = await browser.get(f"{worker.url}/login")
    assert "Ada is logged in until" in HtmlReader(await page.text()).words


async def test_scripts_of_our_pages_learn_the_token_of_their_forms(worker: WebWorker) -> None:
    assert await worker.json("/login") == {"can_log_in": True, "name": None, "until": None, "form_token": None}
    logins = Logins(TOKEN, worker.app.line_topics.prefix)
    cookie = logins.issue("Ada", time.time())
    login = logins.login(cookie, time.time())
    assert login is not None
    answer = await worker.get("/login", {"Cookie": f"{logins.cookie}={cookie}"})
    state = await answer.json()
    assert (state["name"], state["form_token"]) == ("Ada", login.form_token)
    written = await worker.client.post(
        f"{worker.url}/dead-letters/discard/",
        data=orjson.dumps({"ids": ["x"]}),
        headers={"Cookie": f"{logins.cookie}={cookie}", "Metroline-Form-Token": login.form_token},
    )
    assert written.status == 400, "the reason is missing: the request came in"


async def test_a_form_after_its_login_has_ended_says_so_on_a_page(worker: WebWorker, browser: Browser) -> None:
    response = await browser.post(f"{worker.url}/logout", form_token="x")
    assert response.status == 401
    assert "/login" in HtmlReader(await response.text()).attributes("a", "href")


async def test_without_a_token_the_login_says_that_nothing_can_be_written(start: Start, browser: Browser) -> None:
    open_worker = await start()
    page = await browser.get(f"{open_worker.url}/login")
    assert "Nothing can be written here" in HtmlReader(await page.text()).words
    assert "Log in" not in HtmlReader(await (await browser.get(f"{open_worker.url}/table/")).text()).words
    assert (await browser.post(f"{open_worker.url}/login", name="Ada", token="x")).status == 403


@pytest.mark.parametrize(
    ("body", "type_", "status"),
    [
        (b"{}", "application/json", 400),
        (b"name=%ff", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 2_000, "application/x-www-form-urlencoded", 400),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400),
        (b"a" * 1_100_000, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_a_body_that_is_no_form_of_a_login_is_refused(
    worker: WebWorker, body: bytes, type_: str, status: int
) -> None:
    headers = {"Content-Type": type_}
    async with worker.client.post(f"{worker.url}/login", data=BytesIO(body), headers=headers) as response:
        assert response.status == status
        assert "error" in await response.json()


TABLE = f'[[rules]]\r\nafter = "source"\r\nto = "log"\r\n# "{EVIL}" &amp;\r\n'
TYPED = {"table": TABLE, "record": '{"a": 1}', "reason": f"why {EVIL}", "replaces": "1", "previewed": "x"}


async def test_what_was_typed_when_a_login_ended_is_shown_again_after_the_next_one(
    worker: WebWorker, browser: Browser
) -> None:
    refused = await browser.post(f"{worker.url}/rules/publish/", form_token="of a login that has ended", **TYPED)
    assert refused.status == 401
    assert EVIL not in await refused.text()
    fields = await fields_of(refused, "/login")
    again = await browser.post(f"{worker.url}/login", name="Ada", token="open barley", **fields)
    assert again.status == 401
    assert await fields_of(again, "/login") == fields

    done = await browser.post(f"{worker.url}/login", name="Ada", token=TOKEN, **await fields_of(again, "/login"))
    assert done.status == 200
    assert EVIL not in await done.text()
    assert "Logged in as Ada" in HtmlReader(await done.text()).words
    [look] = [form for name, form in HtmlReader(await done.text()).elements if form.get("action") == "/rules/"]
    assert look["method"] == "post"
    typed = {name: value for name, value in (await fields_of(done, "/rules/")).items() if name in {*TYPED, "ask"}}
    assert typed == {**TYPED, "ask": "preview"}

    shown = await browser.post(f"{worker.url}/rules/", **typed)
    text = await shown.text()
    assert EVIL not in text
    assert TABLE.replace("\r\n", "\n") in HtmlReader(text).text
    assert TYPED["reason"] in HtmlReader(text).attributes("input", "value")
    assert TYPED["record"] in HtmlReader(text).text


async def test_a_form_of_another_login_is_shown_again(worker: WebWorker, browser: Browser) -> None:
    await browser.post(f"{worker.url}/login", name="Ada", token=TOKEN)
    refused = await browser.post(f"{worker.url}/rules/publish/", form_token="of the login before", **TYPED)
    assert refused.status == 403
    fields = await fields_of(refused, "/rules/")
    assert {name: fields[name] for name in TYPED} == TYPED


async def test_a_login_with_a_form_that_is_kept_for_nowhere_goes_on_as_without(
    worker: WebWorker, browser: Browser
) -> None:
    for path in ("/rules/publish/", "//evil.example", "/dead-letters/discard/"):
        fields = {"next": path, "kept.table": "x"}
        done = await browser.post(f"{worker.url}/login", name="Ada", token=TOKEN, **fields)
        assert done.status == 303


async def test_whoever_is_not_logged_in_can_log_in_with_what_was_typed(start: Start, browser: Browser) -> None:
    worker = await start(metroline_token=TOKEN)  # its pages are open on this machine
    page = HtmlReader(await (await browser.get(f"{worker.url}/rules/")).text())
    assert "Log in to publish" in page.words
    assert "/rules/publish/" in page.attributes("button", "formaction")
