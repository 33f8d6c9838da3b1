"""Single entries of gathered tables, and tables that no worker holds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.table_entries import block, journey
from tests.support.web_worker import HTML, Start, share, two_workers


@pytest.mark.parametrize("key", ["0/source/0/", "0/source/0", "0%2Fsource%2F0/", "0%2fsource%2f0"])
async def test_an_entry_is_found_by_its_key_wherever_it_lies(start: Start, key: str) -> None:
    one, other = await two_workers(start)
    for worker in (one, other):
        found = await worker.json(f"/table/outcomes/{key}")
        assert found["key"] == "0/source/0"
        assert found["value"] == block(5, 2)
        assert found["settled"] == 7


async def test_an_entry_that_is_not_there_is_not_found(start: Start) -> None:
    one, _ = await two_workers(start)
    for key in ("0/source/9", "1/source/9", "7/source/0", "x", "%FF", "%ED%A0%80", "-1/source/0", "0"):
        response = await one.get(f"/table/outcomes/{key}/")
        assert response.status == 404, key
        assert "missing" not in await response.json()


async def test_an_entry_of_a_worker_that_does_not_answer_may_be_there_all_the_same(start: Start) -> None:
    one = await start()
    await share({one: {0}, "http://127.0.0.1:1": {1}})
    response = await one.get("/table/outcomes/1/source/0/")
    assert response.status == 404
    assert "does not answer" in (await response.json())["error"]


FOREIGN: list[Any] = [{}, {"epoch": 1}, {"counts": 1}, {"counts": [[1]], "hops": "x"}, {"entries": [{}]}, []]
"""Entries that somebody else wrote to the changelog of a table."""


async def test_foreign_entries_are_left_out_and_break_no_page(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    one = await start()
    recent = one.app.line_tables.journeys
    assert recent is not None
    one.put(one.outcomes, {"0/source/0": block(5)} | {f"0/source/x{n}": entry for n, entry in enumerate(FOREIGN)})
    one.put(one.outcomes, {"0/source/y": block(1)} | {f"0/source/{n}": entry for n, entry in enumerate(FOREIGN, 1)})
    one.put(recent.table, {"0/0": {"entries": [journey()]}} | {f"0/{n}": entry for n, entry in enumerate(FOREIGN, 1)})
    await share({one: {0}})

    assert (await one.json("/table/outcomes/"))["settled"] == 5
    assert len((await one.json("/table/journeys/"))["journeys"]) == 1
    for path in ("/table/", "/table/outcomes/", "/table/journeys/", "/metrics"):
        assert (await one.get(path, HTML)).status == 200, path
    for key in ("x0", "x5", "y", "1", "2", "3", "4", "5", "6"):
        assert (await one.get(f"/table/outcomes/0/source/{key}/")).status == 404, key
    assert (await one.get("/table/journeys/0/5/", HTML)).status == 404
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("path", ["/table/outcomes/", "/table/journeys/0/1/", "/table/dead_letters/?local=true"])
async def test_another_role_names_the_role_that_holds_the_table_when_none_is_alive(start: Start, path: str) -> None:
    router = await start("router")
    response = await router.get(path)
    assert response.status == 404
    assert "arrivals" in (await response.json())["error"]
    tables = (await router.json("/table/"))["tables"]
    assert [table["entries"] for table in tables] == [0, None, None, None]
