"""Every page: JSON for programs; for browsers, HTML that loads and runs nothing."""

from __future__ import annotations

import pytest

from tests.support.table_entries import journey
from tests.support.web_worker import HTML, Start, two_workers

EVIL = "<script>alert(1)</script>"
PAGES = ["/", "/table/", "/table/rules/", "/table/outcomes/", "/table/journeys/", "/table/dead_letters/"]
LINKED = [*PAGES[:-1], "/dead-letters/"]


@pytest.mark.parametrize("path", PAGES)
async def test_browsers_get_a_page_that_can_load_and_run_nothing(start: Start, path: str) -> None:
    one, other = await two_workers(start)
    recent = one.app.line_tables.journeys
    assert recent is not None
    evil = journey() | {"reason": EVIL, "record": EVIL, "id": EVIL}
    one.put(recent.table, {"0/0": {"number": 0, "entries": [evil]}})
    one.hear(f"javascript:{EVIL}", EVIL)
    for worker in (one, other):
        response = await worker.get(path, HTML)
        assert response.status == 200
        assert response.content_type == "text/html"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        text = await response.text()
        assert EVIL not in text
        assert "<script" not in text
        assert all(f'href="{page}"' in text for page in LINKED)
    as_json = await one.get(f"{path}?format=json", HTML)
    assert as_json.content_type == "application/json"


@pytest.mark.parametrize("path", [*PAGES, "/table/outcomes/0/source/0/"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_pages_are_only_read(start: Start, path: str, method: str) -> None:
    assert (await (await start()).get(path, method=method)).status == 405
