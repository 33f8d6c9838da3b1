"""The line `maintenance`: its steps in order, and what it must never delete, on a cluster in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from metroline import Wait
from metroline.agents.lines.maintenance.cluster import SearchCluster
from metroline.agents.lines.maintenance.services import Settings, digest, watch_deletion, watch_merge
from metroline.testing import Journey, run_line
from tests.support.memory_cluster import OLD, YOUNG, MemoryCluster

LINE = "metroline.agents.lines.maintenance"
ALL_STOPS = [
    "choose",
    "snapshot",
    "watch_snapshot",
    "delete_indices",
    "delete_false_alarms",
    "watch_deletion",
    "merge",
    "watch_merge",
]
CHANGES = [
    ("snapshot", ["logs-new", "logs-old"]),
    ("delete", "logs-old-1"),
    ("delete by query", ["logs-new"]),
    ("merge", ["logs-new"]),
]


def cluster() -> MemoryCluster:
    return MemoryCluster(**{"logs-old": OLD, "logs-new": YOUNG})


def run(search: MemoryCluster, record: dict[str, Any] | None = None, **other: Any) -> Journey:
    resources = {"search": search, "settings": Settings()}
    [journey] = run_line(LINE, record or {"kind": "maintenance"}, resources=resources, **other)
    return journey


def starting_at(stop: str, folder: Path) -> Path:
    """Return the file of a table by which records begin at a stop, as a replay has them begin."""
    file = folder / "routes.toml"
    steps = [("source", stop), *pairwise(ALL_STOPS[ALL_STOPS.index(stop) :])]
    file.write_text("".join(f'[[rules]]\nafter = "{before}"\nto = "{after}"\n' for before, after in steps))
    return file


def test_the_steps_follow_one_another_and_each_is_watched_until_it_is_done() -> None:
    search = cluster()
    journey = run(search)
    assert (journey.outcome, journey.stops) == ("delivered", ALL_STOPS)
    assert search.changes == CHANGES
    assert (journey.record["deleted"], journey.record["not_deleted"]) == (["logs-old"], [])
    assert journey.record["false_alarms"] == 7
    assert journey.waited == 5 * 10 + 10, "two waits for each of the three"


@pytest.mark.parametrize("change", ["snapshot", "delete", "delete by query", "merge"])
def test_a_step_that_is_repeated_since_its_answer_was_lost_does_no_harm(change: str) -> None:
    search = cluster()
    search.fails_after = {change}
    journey = run(search)
    assert journey.outcome == "delivered"
    deleted = [what for what in search.changes if what[0] in ("snapshot", "delete")]
    assert deleted == CHANGES[:2], "one snapshot, and one index deleted"


@pytest.mark.parametrize("state", ["PARTIAL", "FAILED", "INCOMPATIBLE"])
def test_nothing_is_deleted_after_a_snapshot_that_is_not_complete(state: str) -> None:
    search = cluster()
    search.ends_with = state
    journey = run(search)
    assert (journey.outcome, journey.cause, journey.stops[-1]) == ("dead", "service_error", "watch_snapshot")
    assert f"is {state}" in str(journey.reason)
    assert [what for what, _ in search.changes] == ["snapshot"]


def test_a_failed_run_goes_on_from_the_step_that_failed_with_a_new_snapshot(tmp_path: Path) -> None:
    search = cluster()
    search.ends_with = "PARTIAL"
    failed = run(search)
    search.ends_with = "SUCCESS"
    again = starting_at("snapshot", tmp_path)
    assert run(search, failed.record, rules=again).outcome == "delivered"
    assert [what for what, _ in search.changes] == [
        "snapshot",
        "delete snapshot",
        "snapshot",
        "delete",
        "delete by query",
        "merge",
    ]


def test_an_index_of_the_same_name_that_came_later_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    search = cluster()
    start = search.start_snapshot

    async def recreated(*args: Any) -> None:
        await start(*args)
        search.recreate("logs-old")

    monkeypatch.setattr(search, "start_snapshot", recreated)
    journey = run(search)
    assert (journey.record["deleted"], journey.record["not_deleted"]) == ([], ["logs-old"])
    assert "logs-old" in search.indices


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"metadata": {"metroline": "other"}}, "was made of another list"),
        ({"metadata": None}, "was made of another list"),
        ({"indices": ["logs-new"]}, "lacks logs-old"),
        ({"state": "PARTIAL"}, "is PARTIAL"),
    ],
)
def test_the_snapshot_is_looked_at_again_before_anything_is_deleted(changed: dict[str, Any], reason: str) -> None:
    search = cluster()
    look = search.snapshot

    async def later(repository: str, name: str) -> dict[str, Any] | None:
        found = await look(repository, name)
        return found | changed if found is not None and found["state"] == "SUCCESS" else found

    search.snapshot = later  # type: ignore[method-assign]
    journey = run(search)
    assert journey.outcome == "dead"
    assert reason in str(journey.reason)
    assert "logs-old" in search.indices


def test_a_list_that_somebody_edited_is_refused(tmp_path: Path) -> None:
    indices = [{"index": "logs-old", "uuid": "logs-old-1", "old": True}]
    edited = [*indices, {"index": "orders", "uuid": "orders-1", "old": True}]
    record = {"indices": edited, "digest": digest(indices), "snapshot": "s"}
    search = MemoryCluster(orders=OLD)
    journey = run(search, record, rules=starting_at("delete_indices", tmp_path))
    assert "not the one that was chosen" in str(journey.reason)
    assert "orders" in search.indices


def test_a_snapshot_that_never_ends_is_given_up_at_the_deadline_with_its_progress() -> None:
    search = cluster()
    search.ends_with = "IN_PROGRESS"
    journey = run(search)
    assert (journey.cause, journey.stops[-1]) == ("retries_exhausted", "watch_snapshot")
    assert "of 3 shards saved" in str(journey.reason)


def test_a_task_that_failed_in_part_stops_the_rest() -> None:
    search = cluster()
    search.task_ends = {"response": {"failures": [{"cause": "a shard is away"}]}}
    journey = run(search)
    assert (journey.outcome, journey.stops[-1]) == ("dead", "watch_deletion")
    assert "a shard is away" in str(journey.reason)
    assert "merge" not in dict(search.changes)


@pytest.mark.parametrize(("days", "deleted"), [(1, []), (89.5, []), (90, []), (100_000, []), (None, ["logs-old"])])
def test_a_record_can_keep_indices_longer_but_never_shorter_than_the_settings(
    days: float | None, deleted: list[str]
) -> None:
    week_ago = str(int((time.time() - 7 * 86_400) * 1_000))
    search = MemoryCluster(**{"logs-old": OLD if days in (None, 100_000) else week_ago, "logs-new": YOUNG})
    journey = run(search, {"kind": "maintenance"} | ({} if days is None else {"keep_days": days}))
    assert journey.record["deleted"] == deleted


@pytest.mark.parametrize("days", ["30", True, None, [30]])
def test_a_number_of_days_that_is_none_deletes_nothing(days: Any) -> None:
    search = cluster()
    journey = run(search, {"kind": "maintenance", "keep_days": days})
    assert (journey.cause, journey.stops) == ("service_error", ["choose"])
    assert "keep_days must be a number of days" in str(journey.reason)
    assert search.changes == []


class ListeningCluster(SearchCluster):
    """A client that notes the paths of its requests, and begins a task at each."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def _ask(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        self.paths.append(path)
        return {"task": f"node:{len(self.paths)}"}


async def test_more_indices_than_an_address_has_room_for_are_several_tasks() -> None:
    names = [f"logs-of-a-department-{number:04}" for number in range(500)]
    search = ListeningCluster()

    tasks = [*await search.start_deletion(names, {}), *await search.start_merge(names)]

    assert tasks == [f"node:{number + 1}" for number in range(len(search.paths))]
    assert max(map(len, search.paths)) < 3_100
    for step in ("_delete_by_query", "_forcemerge"):
        lists = [path.split("/")[0] for path in search.paths if path.endswith(f"/{step}")]
        assert len(lists) > 1
        assert ",".join(lists).split(",") == names


async def test_a_step_with_several_tasks_waits_for_all_of_them() -> None:
    states = {
        "a": {"completed": True, "task": {"status": {"deleted": 3, "total": 3}}, "response": {"deleted": 3}},
        "b": {
            "completed": False,
            "task": {"status": {"deleted": 1, "total": 4}, "running_time_in_nanos": 5_000_000_000},
        },
    }
    search = MemoryCluster()

    async def task(task: str) -> dict[str, Any]:
        return states[task]

    search.task = task  # type: ignore[method-assign]
    record = {"deletion": ["a", "b"], "merge": ["a", "b"]}
    settings, client, part = Settings(), cast(SearchCluster, search), "4 of 7 false alarms deleted"
    assert await watch_deletion(dict(record), client, settings) == Wait(seconds=10, progress=part)
    assert await watch_merge(dict(record), client, settings) == Wait(seconds=10, progress="merging for 5 s")

    states["b"] = {"completed": True, "task": {}, "response": {"deleted": 4}}
    assert await watch_deletion(dict(record), client, settings) == record | {"false_alarms": 7}
    assert await watch_merge(dict(record), client, settings) == record
    assert await watch_deletion({"deletion": "a"}, client, settings) == {"deletion": "a", "false_alarms": 3}


def test_a_cluster_without_such_indices_needs_no_maintenance() -> None:
    journey = run(MemoryCluster())
    assert (journey.outcome, journey.reason) == ("dropped", "no indices")


@pytest.mark.parametrize("strategy", ["hard_wired", "conductor", "map_maker", "signpost"])
def test_every_strategy_takes_the_same_way(strategy: str) -> None:
    search = cluster()
    assert run(search, strategy=strategy).stops == ALL_STOPS
    assert search.changes == CHANGES
