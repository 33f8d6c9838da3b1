"""The steps of maintenance, in the order of routes.toml: save, delete what is old, delete false alarms, merge."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import orjson
from pydantic_settings import BaseSettings

from metroline import Wait, resource, service
from metroline.agents.lines.maintenance.cluster import ClusterProblem, SearchCluster
from metroline.agents.services.service import Record

DAY_MS = 24 * 3600 * 1000

HOUR = 3600

RUNNING = ("IN_PROGRESS", "STARTED", "INIT")

PENDING_SECONDS = 10.0
"""Time after which a stop asks again."""


class Settings(BaseSettings, env_prefix="MAINTENANCE_"):
    """The settings of the line."""

    url: str = "http://127.0.0.1:9200"
    """MAINTENANCE_URL: address of the cluster."""
    username: str = ""
    """MAINTENANCE_USERNAME: login at the cluster; none by default."""
    password: str = ""
    """MAINTENANCE_PASSWORD: its password."""
    repository: str = "maintenance"
    """MAINTENANCE_REPOSITORY: snapshot repository, which must be registered."""
    pattern: str = "logs-*"
    """MAINTENANCE_PATTERN: the indices that are looked after."""
    keep_days: float = 90
    """MAINTENANCE_KEEP_DAYS: indices that were created earlier are deleted, unless the record has a longer time."""
    false_alarms: dict[str, Any] = {"term": {"test": True}}
    """MAINTENANCE_FALSE_ALARMS: query, as JSON, for the documents that are false alarms by design."""
    time_field: str = "@timestamp"
    """MAINTENANCE_TIME_FIELD: field with the time of a document. Only those from before the snapshot are deleted."""
    poll_seconds: float = PENDING_SECONDS
    """MAINTENANCE_POLL_SECONDS: seconds after which a stop asks again whether the cluster is done."""


class NotSaved(Exception):
    """Raised when indices are not in a snapshot that ended well. Replay the record from `snapshot`."""


class InvalidRun(Exception):
    """Raised when a record has a field that cannot be used."""


class TaskFailed(Exception):
    """Raised when a task of the cluster failed. Replay the record from the step that starts it."""


@resource
async def search(settings: Settings) -> AsyncIterator[SearchCluster]:
    """Open the client of the cluster."""
    login = aiohttp.BasicAuth(settings.username, settings.password) if settings.username else None
    async with aiohttp.ClientSession(auth=login) as session:
        yield SearchCluster(session, settings.url)


@service(timeout=120, no_retry=(InvalidRun,))
async def choose(run: Record, id: str, search: SearchCluster, settings: Settings) -> Record:
    """List the indices once, with the UUID of each. The list travels with the record; later steps keep to it."""
    now = int(time.time() * 1000)
    oldest = now - kept_days(run, settings) * DAY_MS
    found = await search.settings(settings.pattern)
    run["indices"] = [
        {"index": name, "uuid": one["index.uuid"], "old": int(one["index.creation_date"]) < oldest}
        for name, one in sorted(found.items())
    ]
    run["chosen_at"] = now
    run["digest"] = digest(run["indices"])
    run["snapshot"] = re.sub(r"[^a-z0-9._-]", "-", f"maintenance-{id}-{run['digest'][:12]}".lower())
    return run


@service(timeout=120)
async def snapshot(run: Record, search: SearchCluster, settings: Settings) -> Record:
    """Begin the snapshot, under a name that follows from the record and the list: one that was begun is found again."""
    check_list(run)
    found = await search.snapshot(settings.repository, run["snapshot"])
    if found is not None and found["state"] not in ("SUCCESS", *RUNNING):
        await search.delete_snapshot(settings.repository, run["snapshot"])  # a replay begins it anew
        found = None
    if found is None:
        names = [one["index"] for one in run["indices"]]
        await search.start_snapshot(settings.repository, run["snapshot"], names, {"metroline": run["digest"]})
    return run


@service(timeout=120, wait_max=12 * HOUR, no_retry=(NotSaved,))
async def watch_snapshot(run: Record, search: SearchCluster, settings: Settings) -> Record | Wait:
    """Wait until the snapshot is done; one that is not complete is a failure."""
    found = await search.snapshot(settings.repository, run["snapshot"])
    if found is not None and found["state"] in RUNNING:
        done, total = await search.shards(settings.repository, run["snapshot"])
        return Wait(seconds=settings.poll_seconds, progress=f"{done} of {total} shards saved")
    check_saved(run, found)
    run["snapshot_state"] = "SUCCESS"
    return run


@service(timeout=600, no_retry=(NotSaved,))
async def delete_indices(run: Record, search: SearchCluster, settings: Settings) -> Record:
    """Delete the old indices of the list that are the very ones in the snapshot. What is gone was deleted before."""
    check_saved(run, await search.snapshot(settings.repository, run["snapshot"]))
    deleted, kept = [], []
    for one in run["indices"]:
        if not one["old"]:
            continue
        uuid = (await search.uuids([one["index"]])).get(one["index"])
        if uuid is not None and uuid != one["uuid"]:
            kept.append(one["index"])  # somebody made another index of this name, which is not in the snapshot
            continue
        if uuid is not None:
            await search.delete_index(one["index"])
        deleted.append(one["index"])
    run["deleted"], run["not_deleted"] = deleted, kept
    return run


@service(timeout=120, no_retry=(NotSaved,))
async def delete_false_alarms(run: Record, search: SearchCluster, settings: Settings) -> Record:
    """Begin to delete the documents that are false alarms by design, of those that the snapshot holds."""
    check_saved(run, await search.snapshot(settings.repository, run["snapshot"]))
    names = await still_there(run, search)
    run.pop("deletion", None)  # of an earlier attempt
    if names:
        before = {"range": {settings.time_field: {"lt": run["chosen_at"], "format": "epoch_millis"}}}
        query = {"bool": {"filter": [settings.false_alarms, before]}}
        run["deletion"] = await search.start_deletion(names, query)
    return run


@service(timeout=120, wait_max=12 * HOUR, no_retry=(TaskFailed,))
async def watch_deletion(run: Record, search: SearchCluster, settings: Settings) -> Record | Wait:
    """Wait until the documents are deleted."""
    tasks = await tasks_of(run, "deletion", search)
    if not all(task["completed"] for task in tasks):
        states = [task["task"].get("status") or {} for task in tasks]
        deleted, total = (sum(one.get(key, 0) for one in states) for key in ("deleted", "total"))
        return Wait(seconds=settings.poll_seconds, progress=f"{deleted} of {total} false alarms deleted")
    run["false_alarms"] = sum(task["response"].get("deleted", 0) for task in tasks)
    return run


@service(timeout=120)
async def merge(run: Record, search: SearchCluster) -> Record:
    """Begin to merge the segments that hold deleted documents. Merging twice does no harm."""
    names = await still_there(run, search)
    run.pop("merge", None)  # of an earlier attempt
    if names:
        run["merge"] = await search.start_merge(names)
    return run


@service(timeout=120, wait_max=24 * HOUR, no_retry=(TaskFailed,))
async def watch_merge(run: Record, search: SearchCluster, settings: Settings) -> Record | Wait:
    """Wait until the segments are merged."""
    pending = [task for task in await tasks_of(run, "merge", search) if not task["completed"]]
    if pending:
        seconds = max(task["task"].get("running_time_in_nanos", 0) for task in pending) / 1e9
        return Wait(seconds=settings.poll_seconds, progress=f"merging for {seconds:.0f} s")
    return run


def kept_days(run: Record, settings: Settings) -> float:
    """Return for how many days a run keeps indices: longer than the settings say, if the record does, never shorter."""
    asked = run.get("keep_days", settings.keep_days)
    if isinstance(asked, bool) or not isinstance(asked, int | float):
        raise InvalidRun(f"keep_days must be a number of days, not {str(asked)[:100]!r}")
    return max(asked, settings.keep_days)


def digest(indices: Sequence[Record]) -> str:
    """Return what tells this list of indices from any other; a snapshot has it in its metadata."""
    listed = sorted((one["index"], one["uuid"]) for one in indices)
    return hashlib.sha256(orjson.dumps(listed)).hexdigest()


def check_list(run: Record) -> None:
    """Raise `NotSaved` if the list of a record was changed after it was made."""
    if digest(run["indices"]) != run["digest"]:
        raise NotSaved("the list of indices is not the one that was chosen: replay the record from `choose`")


def check_saved(run: Record, found: Record | None) -> None:
    """Raise `NotSaved` unless every index of the list is in a snapshot of this very list that ended with SUCCESS."""
    check_list(run)
    name = run["snapshot"]
    if found is None:
        raise NotSaved(f"there is no snapshot {name}")
    if found["state"] != "SUCCESS":
        failures = "; ".join(str(one.get("reason")) for one in found.get("failures", ()))[:500]
        raise NotSaved(f"the snapshot {name} is {found['state']}{f': {failures}' if failures else ''}")
    if (found.get("metadata") or {}).get("metroline") != run["digest"]:
        raise NotSaved(f"the snapshot {name} was made of another list of indices")
    missing = {one["index"] for one in run["indices"]} - set(found["indices"])
    if missing:
        raise NotSaved(f"the snapshot {name} lacks {', '.join(sorted(missing))[:500]}")


async def still_there(run: Record, search: SearchCluster) -> list[str]:
    """Return the indices of the list that stay, and are still the same ones."""
    kept = {one["index"]: one["uuid"] for one in run["indices"] if not one["old"]}
    return sorted(name for name, uuid in (await search.uuids(list(kept))).items() if uuid == kept[name])


async def tasks_of(run: Record, step: str, search: SearchCluster) -> list[Record]:
    """Return the states of the tasks that a step began; none if it had nothing to do. Raise `TaskFailed`."""
    begun = run.get(step, [])
    names = [begun] if isinstance(begun, str) else begun  # records that were under way before have one name
    return [await state_of(name, search) for name in names]


async def state_of(name: str, search: SearchCluster) -> Record:
    """Return the state of a task; raise `TaskFailed` if it failed, also in part."""
    try:
        task = await search.task(name)
    except ClusterProblem as problem:
        if problem.status == 404:
            raise TaskFailed(f"the cluster does not know the task {name}: was its node restarted?") from problem
        raise
    if task.get("error"):
        raise TaskFailed(f"the task {name} failed: {str(task['error'])[:500]}")
    failures = (task.get("response") or {}).get("failures") or (task.get("response") or {}).get("_shards", {}).get(
        "failures"
    )
    if failures:
        raise TaskFailed(f"the task {name} failed in part: {str(failures)[:500]}")
    return task
