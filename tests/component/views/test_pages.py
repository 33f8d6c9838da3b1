"""Single entries of gathered tables, and tables that no worker holds."""

from __future__ import annotations

import pytest

from tests.support.table_entries import block
from tests.support.web_worker import Start, share, two_workers


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


@pytest.mark.parametrize("path", ["/table/outcomes/", "/table/journeys/0/1/", "/table/dead_letters/?local=true"])
async def test_another_role_names_the_role_that_holds_the_table_when_none_is_alive(start: Start, path: str) -> None:
    router = await start("router")
    response = await router.get(path)
    assert response.status == 404
    assert "arrivals" in (await response.json())["error"]
    tables = (await router.json("/table/"))["tables"]
    assert [table["entries"] for table in tables] == [0, None, None, None]
