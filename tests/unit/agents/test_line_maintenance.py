"""The line `maintenance`: its steps in order, and what it must never delete, on a cluster in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from metroline import Wait
from metroline.agents.lines.maintenance.cluster import ClusterAway, ClusterBusy, ClusterProblem, SearchCluster
from metroline.agents.lines.maintenance.services import Settings, digest, watch_deletion, watch_merge
from metroline.testing import Journey, run_line
from tests.support.memory_cluster import OLD, YOUNG, MemoryCluster, index_settings

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
    assert (journey.record["deleted"], journey.record["not_deleted"]) == (["logs-old"], {})
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
    assert (journey.record["deleted"], list(journey.record["not_deleted"])) == ([], ["logs-old"])
    assert "another index of this name" in journey.record["not_deleted"]["logs-old"]
    assert "logs-old" in search.indices


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"index.blocks.read_only": "true"}, "it is read-only"),
        ({"index.verified_before_close": "true"}, "it is closed"),
    ],
)
def test_an_old_index_that_somebody_protected_meanwhile_stays(changed: dict[str, str], reason: str) -> None:
    search = cluster()
    search.after_snapshot = lambda: search.indices["logs-old"].update(changed)
    journey = run(search)
    assert reason in journey.record["not_deleted"]["logs-old"]
    assert "logs-old" in search.indices


def test_an_old_index_that_is_still_written_to_stays() -> None:
    search = cluster()
    search.after_snapshot = lambda: search.documents.update({"logs-old": 6})
    journey = run(search)
    assert "it was written to after the list was made" in journey.record["not_deleted"]["logs-old"]

    search = cluster()
    search.documents["logs-old"] = None
    journey = run(search)
    assert "shards of it are away" in journey.record["not_deleted"]["logs-old"]

    search = cluster()
    search.writers["logs-old"] = "the data stream logs"
    journey = run(search)
    assert journey.record["not_deleted"] == {"logs-old": "the data stream logs writes to it"}
    assert "logs-old" in search.indices


def test_an_index_that_is_gone_before_the_snapshot_does_not_keep_the_others_from_being_saved() -> None:
    search = cluster()
    search.indices["logs-gone"] = index_settings("logs-gone-1", OLD)
    choose, listed = search.settings, []

    async def settings(pattern: str) -> dict[str, dict[str, str]]:
        found = await choose(pattern)
        if pattern == "logs-*":
            listed.append(search.indices.pop("logs-gone", None))
            search.recreate("logs-new")
        return found

    search.settings = settings  # type: ignore[method-assign]
    journey = run(search)
    assert (journey.outcome, listed[0] is not None) == ("delivered", True)
    assert journey.record["gone"] == ["logs-gone", "logs-new"]
    assert search.changes[:2] == [("snapshot", ["logs-old"]), ("delete", "logs-old-1")]


def test_a_run_whose_indices_are_all_gone_has_nothing_to_save() -> None:
    search = MemoryCluster(**{"logs-old": OLD})
    known = search.operations

    async def operations(name: str, count: int) -> int | None:
        found = await known(name, count)
        search.indices.clear()
        return found

    search.operations = operations  # type: ignore[method-assign]
    journey = run(search)
    assert (journey.outcome, journey.reason, search.changes) == ("dropped", "no indices", [])


@pytest.mark.parametrize("pattern", ["*", "logs-*"])
def test_indices_of_the_cluster_itself_are_left_alone(pattern: str) -> None:
    search = MemoryCluster(**{".security": OLD, ".ds-logs-1": OLD, "logs-old": OLD})
    search.pattern = pattern
    resources = {"search": search, "settings": Settings(pattern=pattern)}
    [journey] = run_line(LINE, {"kind": "maintenance"}, resources=resources)
    assert journey.record["deleted"] == [".ds-logs-1", "logs-old"]
    assert ".security" in search.indices


@pytest.mark.parametrize(
    "problem",
    [
        ClusterAway("http://search:9200: no answer"),
        ClusterBusy("PUT", 403, {"error": {"type": "cluster_block_exception", "reason": "read-only / allow delete"}}),
        ClusterBusy("DELETE", 400, {"error": {"type": "snapshot_in_progress_exception", "reason": "in use"}}),
    ],
)
@pytest.mark.parametrize("change", ["start_snapshot", "delete_index", "start_deletion", "start_merge", "settings"])
def test_a_cluster_that_is_away_or_busy_for_longer_than_the_attempts_is_waited_for(
    change: str, problem: Exception
) -> None:
    search = cluster()
    does, left = getattr(search, change), [problem] * 20

    async def later(*args: Any) -> Any:
        if left:
            raise left.pop()
        return await does(*args)

    setattr(search, change, later)
    journey = run(search)
    assert journey.outcome == "delivered", journey.reason
    assert search.changes == CHANGES


def test_a_cluster_that_stays_read_only_is_given_up_at_the_deadline_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = cluster()
    reason = {"error": {"type": "cluster_block_exception", "reason": "cluster is read-only"}}

    async def refused(*args: Any) -> None:
        raise ClusterBusy("PUT /_snapshot", 403, reason)

    monkeypatch.setattr(search, "start_snapshot", refused)
    journey = run(search)
    assert (journey.cause, journey.stops[-1]) == ("retries_exhausted", "snapshot")
    assert "cluster is read-only" in str(journey.reason)


def test_documents_of_indices_that_are_read_only_are_left_alone() -> None:
    search = cluster()
    search.indices["logs-kept"] = index_settings("logs-kept-1", YOUNG) | {"index.blocks.write": "true"}
    journey = run(search)
    assert journey.outcome == "delivered"
    assert [of for what, of in search.changes if what in ("delete by query", "merge")] == [["logs-new"]] * 2


@pytest.mark.parametrize("step", ["deletion", "merge"])
def test_a_task_of_a_node_that_was_restarted_is_begun_again(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    search = cluster()
    know, lost = search.task, [step]

    async def task(name: str) -> dict[str, Any]:
        if name in lost and search.asked.get(name):
            lost.remove(name)
            raise ClusterProblem("GET", 404, {"error": {"type": "resource_not_found_exception", "reason": "gone"}})
        return await know(name)

    monkeypatch.setattr(search, "task", task)
    journey = run(search)
    assert (journey.outcome, lost) == ("delivered", [])
    begun = [what for what, _ in search.changes]
    assert begun.count({"deletion": "delete by query", "merge": "merge"}[step]) == 2


BLOCKED = {"type": "cluster_block_exception", "reason": "index [logs-new] blocked by: [FORBIDDEN/8/index write (api)]"}


@pytest.mark.parametrize(
    "ends",
    [
        {"error": {"type": "index_not_found_exception", "reason": "no such index [logs-new]"}},
        {"error": {"type": "index_closed_exception", "reason": "closed"}},
        {"response": {"deleted": 2, "failures": [{"index": "logs-new", "cause": BLOCKED, "status": 403}]}},
    ],
)
def test_a_task_whose_index_is_changed_by_others_is_begun_again_without_it(ends: dict[str, Any]) -> None:
    search = MemoryCluster(**{"logs-old": OLD, "logs-new": YOUNG, "logs-newer": YOUNG})
    begin, well = search.start_deletion, search.task_ends
    search.task_ends = ends

    async def deletion(indices: Sequence[str], query: Any) -> list[str]:
        if "logs-new" not in indices:
            search.task_ends = well
        search.indices.pop("logs-new", None)
        return await begin(indices, query)

    search.start_deletion = deletion  # type: ignore[method-assign]
    journey = run(search)
    assert journey.outcome == "delivered", journey.reason
    begun = [of for what, of in search.changes if what == "delete by query"]
    assert begun == [["logs-new", "logs-newer"], ["logs-newer"]]


def test_a_task_that_was_cancelled_is_a_failure() -> None:
    search = cluster()
    search.task_ends = {"response": {"deleted": 3, "failures": [], "canceled": "by user request"}}
    journey = run(search)
    assert (journey.outcome, journey.stops[-1]) == ("dead", "watch_deletion")
    assert "was cancelled: by user request" in str(journey.reason)


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
    search.task_ends = {"response": {"failures": [{"cause": {"type": "shard", "reason": "a shard is away"}}]}}
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
