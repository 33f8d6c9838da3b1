"""The steps of maintenance, in the order of routes.toml: save, delete what is old, delete false alarms, merge."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field
from pydantic_settings import BaseSettings

from metroline import Drop, Wait, resource, service
from metroline.agents.http.access import AccessSettings, HttpAccess
from metroline.agents.lines.maintenance.cluster import ClusterProblem, SearchCluster
from metroline.agents.lines.maintenance.patience import waits_for_the_cluster
from metroline.agents.services.service import Record

DAY_MS = 24 * 3600 * 1000

HOUR = 3600

CHANGED = ("cluster_block_exception", "index_closed_exception", "index_not_found_exception")
"""Types of errors of tasks whose indices were closed, deleted or made read-only after they were listed."""

RUNNING = ("IN_PROGRESS", "STARTED", "INIT")

POLL_SECONDS = 10.0
"""Time after which a stop asks again."""

READ_ONLY = ("index.blocks.read_only", "index.blocks.read_only_allow_delete", "index.blocks.write")
"""Settings of an index in which no document can be deleted."""


class Settings(BaseSettings, env_prefix="MAINTENANCE_"):
    """The settings of the line."""

    url: str = "http://127.0.0.1:9200"
    """MAINTENANCE_URL: address of the cluster; of several nodes, with commas, each is asked until one answers."""
    username: str | None = None
    """MAINTENANCE_USERNAME: login at the cluster; none by default."""
    password: str | None = Field(None, repr=False)
    """MAINTENANCE_PASSWORD: its password."""
    password_file: Path | None = None
    """MAINTENANCE_PASSWORD_FILE: file with the password."""
    api_key: str | None = Field(None, repr=False)
    """MAINTENANCE_API_KEY: API key in its encoded form, in place of user name and password."""
    api_key_file: Path | None = None
    """MAINTENANCE_API_KEY_FILE: file with the API key."""
    ca_file: Path | None = None
    """MAINTENANCE_CA_FILE: PEM file with the certificates that the cluster's is verified against."""
    cert_file: Path | None = None
    """MAINTENANCE_CERT_FILE: PEM file with the certificate of this client (mutual TLS)."""
    key_file: Path | None = None
    """MAINTENANCE_KEY_FILE: PEM file with its private key, unless `MAINTENANCE_CERT_FILE` has it."""
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
    poll_seconds: float = POLL_SECONDS
    """MAINTENANCE_POLL_SECONDS: seconds after which a stop asks again whether the cluster is done."""

    def access(self) -> HttpAccess:
        """Return the address of the cluster, and what lets this client in; raise `UnusableAccess`."""
        return AccessSettings(
            "MAINTENANCE",
            self.url,
            username=self.username,
            password=self.password,
            password_file=self.password_file,
            api_key=self.api_key,
            api_key_file=self.api_key_file,
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
        ).access()


class NotSaved(Exception):
    """Raised when indices are not in a snapshot that ended well. Replay the record from `snapshot`."""


class InvalidRun(Exception):
    """Raised when a record has a field that cannot be used."""


class TaskFailed(Exception):
    """Raised when a task of the cluster failed. Replay the record from the step that starts it."""


class NotDone(Exception):
    """Raised when a task ended without its work, for a reason that a new task does not meet: it is begun again."""


@resource
async def search(settings: Settings) -> AsyncIterator[SearchCluster]:
    """Open the client of the cluster."""
    cluster = SearchCluster(settings.access())
    try:
        yield cluster
    finally:
        await cluster.close()


@service(timeout=600, wait_max=12 * HOUR, no_retry=(InvalidRun,))
@waits_for_the_cluster
async def choose(run: Record, id: str, search: SearchCluster, settings: Settings) -> Record:
    """List the indices once, with the UUID of each. The list travels with the record; later steps keep to it."""
    now = int(time.time() * 1000)
    oldest = now - kept_days(run, settings) * DAY_MS
    found = await search.settings(settings.pattern)
    run["indices"] = [
        {"index": name, "uuid": one["index.uuid"], "old": int(one["index.creation_date"]) < oldest}
        for name, one in sorted(found.items())
        if is_looked_after(name, settings)
    ]
    for one in run["indices"]:
        if one["old"]:  # what is written to it after this is not certain to be in the snapshot
            one["operations"] = await operations(one["index"], found[one["index"]], search)
    run["chosen_at"] = now
    name_snapshot(run, id)
    return run


@service(timeout=600, wait_max=12 * HOUR)
@waits_for_the_cluster
async def snapshot(run: Record, id: str, search: SearchCluster, settings: Settings) -> Record | Drop:
    """Begin the snapshot, under a name that follows from the record and the list: one that was begun is found again."""
    check_list(run)
    found = await search.snapshot(settings.repository, run["snapshot"])
    if found is None:  # indices that are gone, or are others now, would keep it from beginning
        here = await still_there(run["indices"], search)
        run["gone"] = [one["index"] for one in run["indices"] if one["index"] not in here]
        run["indices"] = [one for one in run["indices"] if one["index"] in here]
        if not run["indices"]:
            return Drop("no indices")
        name_snapshot(run, id)
        found = await search.snapshot(settings.repository, run["snapshot"])
    if found is not None and found["state"] not in ("SUCCESS", *RUNNING):
        await search.delete_snapshot(settings.repository, run["snapshot"])  # a replay begins it anew
        found = None
    if found is None:
        names = [one["index"] for one in run["indices"]]
        await search.start_snapshot(settings.repository, run["snapshot"], names, {"metroline": run["digest"]})
    return run


@service(timeout=120, wait_max=12 * HOUR, no_retry=(NotSaved,))
@waits_for_the_cluster
async def watch_snapshot(run: Record, search: SearchCluster, settings: Settings) -> Record | Wait:
    """Wait until the snapshot is done; one that is not complete is a failure."""
    found = await search.snapshot(settings.repository, run["snapshot"])
    if found is not None and found["state"] in RUNNING:
        done, total = await search.shards(settings.repository, run["snapshot"])
        return Wait(seconds=settings.poll_seconds, progress=f"{done} of {total} shards saved")
    check_saved(run, found)
    run["snapshot_state"] = "SUCCESS"
    return run


@service(timeout=600, wait_max=12 * HOUR, no_retry=(NotSaved,))
@waits_for_the_cluster
async def delete_indices(run: Record, search: SearchCluster, settings: Settings) -> Record:
    """Delete the old indices of the list that are the very ones in the snapshot. What is gone was deleted before."""
    check_saved(run, await search.snapshot(settings.repository, run["snapshot"]))
    deleted: list[str] = []
    kept: dict[str, str] = {}
    for one in run["indices"]:
        if not one["old"]:
            continue
        name, found = one["index"], await search.index(one["index"])
        if found is not None and (reason := await reason_to_keep(one, found, search)):
            kept[name] = reason
            continue
        if found is not None:
            check_saved(run, await search.snapshot(settings.repository, run["snapshot"]))  # others may delete it
            await search.delete_index(name)
        deleted.append(name)
    run["deleted"], run["not_deleted"] = deleted, kept
    return run


@service(timeout=600, wait_max=12 * HOUR, no_retry=(NotSaved,))
@waits_for_the_cluster
async def delete_false_alarms(run: Record, search: SearchCluster, settings: Settings) -> Record:
    """Begin to delete the documents that are false alarms by design, of those that the snapshot holds."""
    return await begin_deletion(run, search, settings)


async def begin_deletion(run: Record, search: SearchCluster, settings: Settings) -> Record:
    """Begin the tasks that delete documents. To begin them twice does no harm."""
    check_saved(run, await search.snapshot(settings.repository, run["snapshot"]))
    names = await changeable(run, search)
    run.pop("deletion", None)  # of an earlier attempt
    if names:
        before = {"range": {settings.time_field: {"lt": run["chosen_at"], "format": "epoch_millis"}}}
        query = {"bool": {"filter": [settings.false_alarms, before]}}
        run["deletion"] = await search.start_deletion(names, query)
    return run


@service(timeout=600, wait_max=12 * HOUR, no_retry=(NotSaved, TaskFailed))
@waits_for_the_cluster
async def watch_deletion(run: Record, search: SearchCluster, settings: Settings) -> Record | Wait:
    """Wait until the documents are deleted."""
    try:
        tasks = await tasks_of(run, "deletion", search)
    except NotDone as lost:
        begun = await begin_deletion(run, search, settings)
        return Wait(seconds=settings.poll_seconds, record=begun, progress=f"begun again, since {lost}")
    if not all(task["completed"] for task in tasks):
        states = [task["task"].get("status") or {} for task in tasks]
        deleted, total = (sum(one.get(key, 0) for one in states) for key in ("deleted", "total"))
        return Wait(seconds=settings.poll_seconds, progress=f"{deleted} of {total} false alarms deleted")
    run["false_alarms"] = sum(task["response"].get("deleted", 0) for task in tasks)
    return run


@service(timeout=600, wait_max=12 * HOUR)
@waits_for_the_cluster
async def merge(run: Record, search: SearchCluster) -> Record:
    """Begin to merge the segments that hold deleted documents."""
    return await begin_merge(run, search)


async def begin_merge(run: Record, search: SearchCluster) -> Record:
    """Begin the tasks that merge. To begin them twice does no harm."""
    names = await changeable(run, search)
    run.pop("merge", None)  # of an earlier attempt
    if names:
        run["merge"] = await search.start_merge(names)
    return run


@service(timeout=600, wait_max=24 * HOUR, no_retry=(TaskFailed,))
@waits_for_the_cluster
async def watch_merge(run: Record, search: SearchCluster, settings: Settings) -> Record | Wait:
    """Wait until the segments are merged."""
    try:
        tasks = await tasks_of(run, "merge", search)
    except NotDone as lost:
        begun = await begin_merge(run, search)
        return Wait(seconds=settings.poll_seconds, record=begun, progress=f"begun again, since {lost}")
    pending = [task for task in tasks if not task["completed"]]
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


def is_looked_after(name: str, settings: Settings) -> bool:
    """Return whether an index that fits the pattern is one of the user's: `*` also fits those of the cluster itself."""
    return not name.startswith(".") or name.startswith(".ds-") or settings.pattern.startswith(".")


def name_snapshot(run: Record, id: str) -> None:
    """Give the snapshot of a list its name, which follows from the record and the list."""
    run["digest"] = digest(run["indices"])
    run["snapshot"] = re.sub(r"[^a-z0-9._-]", "-", f"maintenance-{id}-{run['digest'][:12]}".lower())


def digest(indices: Sequence[Record]) -> str:
    """Return what tells this list of indices from any other; a snapshot has it in its metadata."""
    listed = sorted((one["index"], one["uuid"], one["old"], one.get("operations", 0)) for one in indices)
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


async def reason_to_keep(listed: Record, found: dict[str, str], search: SearchCluster) -> str | None:
    """Return why an old index is not deleted; None if all that it holds is saved and nothing is written to it."""
    if found["index.uuid"] != listed["uuid"]:
        return "it is another index of this name, which is not in the snapshot"
    if is_closed(found):
        return "it is closed"
    if found.get("index.blocks.read_only") == "true":
        return "it is read-only (index.blocks.read_only)"
    now = await operations(listed["index"], found, search)
    if now is None or listed["operations"] is None:
        return "shards of it are away, so that it is not known whether all of it is saved"
    if now != listed["operations"]:
        return "it was written to after the list was made, so that not all of it is saved"
    writer = await search.written_to(listed["index"])
    return None if writer is None else f"{writer} writes to it"


async def operations(name: str, found: dict[str, str], search: SearchCluster) -> int | None:
    """Return how many documents of an index with these settings were written or deleted; None if it is not known."""
    return await search.operations(name, int(found["index.number_of_shards"]))


def is_closed(found: dict[str, str]) -> bool:
    """Return whether an index with these settings is closed."""
    return found.get("index.verified_before_close") == "true"


async def still_there(indices: Sequence[Record], search: SearchCluster) -> dict[str, dict[str, str]]:
    """Return the settings of those that are still the same indices and open, by their names."""
    same = {}
    for one in indices:  # one by one: the names of all would not fit into an address
        found = await search.index(one["index"])
        if found is not None and found["index.uuid"] == one["uuid"] and not is_closed(found):
            same[one["index"]] = found
    return same


async def changeable(run: Record, search: SearchCluster) -> list[str]:
    """Return the indices of the list that stay, are the same ones, and can be changed."""
    found = await still_there([one for one in run["indices"] if not one["old"]], search)
    return sorted(name for name, own in found.items() if not any(own.get(block) == "true" for block in READ_ONLY))


async def tasks_of(run: Record, step: str, search: SearchCluster) -> list[Record]:
    """Return the states of the tasks that a step began; none if it had nothing to do.

    Raise `NotDone` or `TaskFailed`.
    """
    begun = run.get(step, [])
    names = [begun] if isinstance(begun, str) else begun  # records that were under way before have one name
    return [await state_of(name, search) for name in names]


async def state_of(name: str, search: SearchCluster) -> Record:
    """Return the state of a task; raise `NotDone`, or `TaskFailed` if it failed, also in part."""
    try:
        task = await search.task(name)
    except ClusterProblem as problem:
        if problem.status == 404:
            raise NotDone(f"the cluster does not know the task {name} any more") from problem
        raise
    if error := task.get("error"):
        failed = NotDone if error.get("type") in CHANGED else TaskFailed
        raise failed(f"the task {name} failed: {str(error)[:500]}")
    response = task.get("response") or {}
    if response.get("canceled"):
        raise TaskFailed(f"the task {name} was cancelled: {str(response['canceled'])[:500]}")
    failures = response.get("failures") or response.get("_shards", {}).get("failures")
    if failures:
        kinds = {(one.get("cause") or one.get("reason") or {}).get("type") for one in failures}
        failed = NotDone if kinds <= set(CHANGED) else TaskFailed
        raise failed(f"the task {name} failed in part: {str(failures)[:500]}")
    return task
