"""Dead letters: inspected, corrected and replayed; each has one outcome, however often a replay is requested."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections import Counter
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from metroline.routing.outcome import Ending
from tests.support.brokers import KAFKA_FIRST
from tests.support.cli import metroline, running
from tests.support.delivered import delivered_ids
from tests.support.depot import Depot, numbered

REFUSED = orjson.dumps({"n": "refused"})
MANY = 200


async def desk(depot: Depot, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(metroline, "dead-letters", *words, cwd=depot.folder, **depot.environment())


async def answered(depot: Depot, *words: str) -> Any:
    """Return the JSON output of the command."""
    done = await desk(depot, *words, "--json", "-")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
async def failed(depot: Depot) -> Depot:
    """Return a line with six dead letters of a service's errors and one of invalid JSON, among 40 good records."""
    await depot.create_source()
    worker = depot.start("map_maker")
    await depot.ready(worker)
    await depot.push([*numbered(range(40)), *[REFUSED] * 6, b"{broken"])
    await depot.settled(47)
    return depot


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_letters_are_grouped_by_cause_and_told_whole(failed: Depot) -> None:
    raised, broken = await answered(failed, "list")
    assert (raised["count"], raised["stop"], raised["kind"]) == (6, "weigh", "service_error")
    assert raised["where"].startswith("ValueError at services.py:")
    assert (broken["count"], broken["stop"], broken["kind"]) == (1, "source", "malformed_record")
    assert raised["first"] <= raised["last"]
    assert "weigh" in (await desk(failed, "list")).stdout

    letters = await answered(failed, "show", "--group", raised["group"])
    assert len({letter["id"] for letter in letters}) == 6
    assert letters[0]["record"] == {"n": "refused"}
    assert [visit["stop"] for visit in letters[0]["stops"]] == ["weigh"]
    assert "it cannot be weighed" in letters[0]["attempts"][0]


@KAFKA_FIRST
async def test_what_was_put_right_arrives_once_however_often_it_is_asked_for(failed: Depot) -> None:
    [raised, broken] = await answered(failed, "list")
    dry = await desk(failed, "replay", "--group", raised["group"], "--set", "n=8", "--dry-run")
    assert len(dry.stdout.splitlines()) == 6
    assert "weigh (all are weighed)" in dry.stdout
    called = await desk(failed, "replay", raised["example"], "--set", "n=8", "--dry-run", "--call-services")
    assert "after weigh" in called.stdout
    assert called.stdout.endswith("  → delivered\n")
    assert (await failed.counts())[Ending.DEAD] == 7, "a dry run sends nothing"

    again = [desk(failed, "replay", "--group", raised["group"], "--set", "n=8") for _ in range(2)]
    for done in await asyncio.gather(*again):
        assert done.returncode == 0 or "there is no group" in done.stderr, done.stderr
    await failed.until(lambda: has(failed, {Ending.DELIVERED: 36 + 6, Ending.DROPPED: 4, Ending.DEAD: 1}))

    refused = await desk(failed, "replay", broken["example"])
    assert refused.returncode == 1
    assert "give the record with --record" in refused.stderr
    (failed.folder / "one.json").write_text('{\n "n": 4\n}')
    done = await desk(failed, "replay", broken["example"], "--record", "one.json")
    assert done.returncode == 0, done.stderr
    await failed.until(lambda: has(failed, {Ending.DELIVERED: 43, Ending.DROPPED: 4}))
    assert (await desk(failed, "list")).stdout == "no dead letters\n"


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_letters_go_to_a_stop_that_is_named_or_are_discarded(failed: Depot) -> None:
    [raised, _] = await answered(failed, "list")
    letters = await answered(failed, "show", "--group", raised["group"])
    first, second, third = (letter["id"] for letter in letters[:3])

    wrong = await desk(failed, "replay", first, "--to", "nowhere")
    assert wrong.returncode == 1
    assert "no live worker serves that stop; there are crane, shelf, weigh" in wrong.stderr
    assert (await desk(failed, "replay", first, "--to", "shelf")).returncode == 0
    assert (await desk(failed, "discard", second, "--reason", "a test")).returncode == 0
    await failed.until(lambda: has(failed, {Ending.DELIVERED: 37, Ending.DROPPED: 5, Ending.DEAD: 5}))

    assert "is no dead letter" in (await desk(failed, "replay", first)).stderr
    assert "is not the id of a record" in (await desk(failed, "show", "what")).stderr
    assert (await desk(failed, "replay", third)).returncode == 0  # nothing was corrected, so it dies again
    await failed.until(lambda: generation(failed, third, 1))
    assert (await failed.counts())[Ending.DEAD] == 5


@pytest.mark.long
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_a_replay_that_is_killed_in_the_middle_is_asked_for_again(depot: Depot) -> None:
    await depot.create_source()
    worker = depot.start("signpost")
    await depot.ready(worker)
    await depot.push([*numbered(range(40)), *[REFUSED] * MANY])
    await depot.settled(40 + MANY)
    [group] = await answered(depot, "list")
    assert group["count"] == MANY

    replay = ("dead-letters", "replay", "--group", group["group"], "--set", "n=8")
    with running(*replay, "--rate", "20", cwd=depot.folder, **depot.environment()) as process:
        await depot.until(lambda: delivered(depot, 36 + MANY // 10))
        process.kill()
        await asyncio.to_thread(process.wait)
    assert process.returncode == -signal.SIGKILL, "it was at work"
    left = (await depot.counts())[Ending.DEAD]
    assert 0 < left < MANY

    done = await asyncio.to_thread(metroline, *replay, "--rate", "1000", cwd=depot.folder, **depot.environment())
    assert done.returncode == 0, done.stderr
    await depot.until(lambda: has(depot, {Ending.DELIVERED: 36 + MANY, Ending.DROPPED: 4}))
    stand = Counter([line async for line in delivered_ids(depot.cluster, depot.topics.delivered)])
    assert len(stand) == 36 + MANY
    assert set(stand.values()) == {1}


async def delivered(depot: Depot, count: int) -> bool:
    return (await depot.counts())[Ending.DELIVERED] >= count


async def has(depot: Depot, counts: dict[Ending, int]) -> bool:
    return await depot.counts() == counts


async def generation(depot: Depot, letter: str, wanted: int) -> bool:
    """Return whether a letter has died again this many times."""
    told = await answered(depot, "list")
    every = [await answered(depot, "show", "--group", group["group"]) for group in told]
    found = [one for letters in every for one in letters if one["id"] == letter]
    return bool(found) and found[0]["generation"] == wanted


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_over_http_the_same_is_done_by_who_has_the_token(depot: Depot) -> None:
    await depot.create_source()
    worker = depot.start("signpost", METROLINE_TOKEN="open sesame")
    shut = depot.start("signpost")
    await depot.ready(worker, shut)
    await depot.push([*numbered(range(10)), *[REFUSED] * 3])
    await depot.settled(13)
    async with ClientSession() as client:

        async def post(url: str, what: str, body: Any, token: str | None = "open sesame") -> tuple[int, Any]:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with client.post(f"{url}/dead-letters/{what}/", data=orjson.dumps(body), headers=headers) as answer:
                return answer.status, await answer.json()

        async def get(query: str = "") -> Any:
            async with client.get(f"{worker.url}/dead-letters/{query}") as answer:
                return await answer.json()

        [group] = await get()
        letters = await get(f"?group={group['group']}")
        assert (group["count"], len(letters)) == (3, 3)
        asked = {"group": group["group"], "set": {"n": 2}}

        assert (await post(shut.url, "replay", asked))[0] == 403
        assert [(await post(worker.url, "replay", asked, token))[0] for token in (None, "open", "")] == [401] * 3
        malformed: list[Any] = [{"group": 1}, {"ids": ["x"], "more": 1}, {"ids": ["x"], "rate": 0}, []]
        assert [(await post(worker.url, "replay", body))[0] for body in malformed] == [400] * 4
        impossible: list[Any] = [{}, {"ids": ["source-0-999"]}, asked | {"to": "nowhere"}]
        assert [(await post(worker.url, "replay", body))[0] for body in impossible] == [409] * 3

        status, told = await post(worker.url, "replay", asked | {"dry_run": True})
        assert (status, len(told["would_go"])) == (200, 3)
        assert "weigh (all are weighed)" in told["would_go"][letters[0]["id"]]
        assert len(await get(f"?group={group['group']}")) == 3

        discarded = await post(worker.url, "discard", {"ids": [letters[0]["id"]], "reason": "a test"})
        assert discarded == (200, {"discarded": 1})
        await depot.until(lambda: has(depot, {Ending.DELIVERED: 9, Ending.DROPPED: 2, Ending.DEAD: 2}))
        assert await post(worker.url, "replay", asked) == (200, {"replayed": 2})
        await depot.until(lambda: has(depot, {Ending.DELIVERED: 11, Ending.DROPPED: 2}))
        assert await get() == []
