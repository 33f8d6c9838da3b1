"""The list of tables, and the answer for a table that does not exist."""

from __future__ import annotations

import pytest

from tests.support.web_worker import HTML, Start, two_workers

EVIL = "<script>alert(1)</script>"


async def test_the_list_names_tables_roles_and_the_entries_that_are_here(start: Start) -> None:
    one, _ = await two_workers(start)
    listed = await one.json("/table/")
    assert [(table["name"], table["role"], table["entries"]) for table in listed["tables"]] == [
        ("rules", "all", 0),
        ("outcomes", "arrivals", 1),
        ("journeys", "arrivals", 0),
        ("dead_letters", "arrivals", 0),
    ]
    assert all(table["help"] for table in listed["tables"])


@pytest.mark.parametrize("path", ["/table/nothing/", "/table/nothing/0/a/", f"/table/{EVIL}x/".replace("/s", "%2Fs")])
async def test_an_unknown_table_is_answered_with_those_that_there_are(start: Start, path: str) -> None:
    one = await start()
    response = await one.get(path.replace("<", "%3C").replace(">", "%3E"))
    assert response.status == 404
    assert (await response.json())["tables"] == ["rules", "outcomes", "journeys", "dead_letters"]
    shown = await one.get(path.replace("<", "%3C").replace(">", "%3E"), HTML)
    assert shown.status == 404
    assert 'href="/table/dead_letters/"' in await shown.text()
    assert EVIL not in await shown.text()
