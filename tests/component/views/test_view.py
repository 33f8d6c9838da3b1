"""Every page: JSON for programs; for browsers, HTML that loads nothing from others and runs nothing of its own."""

from __future__ import annotations

import re

import pytest
from yarl import URL

from metroline.app.views.page import LINKS
from tests.support.html_reader import HtmlReader
from tests.support.table_entries import block, journey
from tests.support.web_worker import HTML, Start, two_workers

EVIL = "<script>alert(1)</script>"
READ = ["/", "/table/", "/table/rules/", "/table/outcomes/", "/table/journeys/", "/table/dead_letters/"]
PAGES = [*READ, "/rules/"]


@pytest.mark.parametrize("path", PAGES)
async def test_browsers_get_a_page_that_can_load_and_run_nothing(start: Start, path: str) -> None:
    one, other = await two_workers(start)
    recent = one.app.line_tables.journeys
    assert recent is not None
    evil = journey() | {"reason": EVIL, "record": EVIL, "id": EVIL}
    one.put(recent.table, {"0/0": {"number": 0, "entries": [evil]}})
    letters = one.app.line_tables.letters
    assert letters is not None
    one.put(letters.table, {"0/0": {"number": 0, "entries": [evil]}})
    one.put(one.outcomes, {f"0/source{EVIL}/0": block(0, dropped=1, stop=EVIL, reason=EVIL)})
    one.hear(f"javascript:{EVIL}", EVIL)
    for worker in (one, other):
        response = await worker.get(path, HTML)
        assert response.status == 200
        assert response.content_type == "text/html"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        text = await response.text()
        assert EVIL not in text
        scripts = re.findall("<script[^>]*>[^<]*", text)
        assert all(re.fullmatch(r'<script type="module" src="/static/[a-z_]+\.js">', one) for one in scripts), scripts
        assert all(f'href="{page}"' in text for page in LINKS)
    as_json = await one.get(f"{path}?format=json", HTML)
    assert as_json.content_type == "application/json"


@pytest.mark.parametrize("path", [*READ, "/table/outcomes/0/source/0/", "/rules/1/"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_pages_are_only_read(start: Start, path: str, method: str) -> None:
    assert (await (await start()).get(path, method=method)).status == 405


@pytest.mark.parametrize("query", ["", "id=0%2Fsource%2F7&id=%3Cb%3E%26&format=html", "id=%FF%ED%A0%80"])
async def test_the_link_to_the_data_of_a_page_keeps_its_query(start: Start, query: str) -> None:
    one = await start()
    page = URL(f"{one.url}/rules/?{query}", encoded=True)
    async with one.client.get(page, headers=HTML) as response:
        links = HtmlReader(await response.text()).attributes("a", "href")
    [link] = [link for link in links if link is not None and "format=json" in link]
    asked = URL(f"{one.url}/rules/{link}", encoded=True)
    assert asked.query.getall("format") == ["json"]
    assert asked.query.getall("id", []) == page.query.getall("id", [])
    async with one.client.get(asked, headers=HTML) as response:
        assert response.content_type == "application/json"
