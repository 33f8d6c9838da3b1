"""The cluster whose indices the line looks after: a client of the HTTP interface of OpenSearch and Elasticsearch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import orjson

from metroline.agents.http.access import HttpAccess
from metroline.agents.http.client import HttpAnswer, HttpClient, NodeAway

ANSWER_SECONDS = 60.0
"""Longest time for one request."""

NOT_FOUND, TOO_MANY = 404, 429

UNAVAILABLE = (502, 503, 504)
"""Statuses of a node, or of a proxy before it, that another node or a later moment may not have."""

BUSY = (
    "cluster_block_exception",
    "concurrent_snapshot_execution_exception",
    "snapshot_in_progress_exception",
)
"""Types of errors that say nothing of the request: the cluster does not do it now."""

LIST_BYTES = 3_000
"""Maximum length of a list of indices in an address: a cluster takes 4,096 bytes for the first line of a request."""


class ClusterProblem(Exception):
    """Raised when the cluster refuses a request: the step is tried again, and then is a dead letter."""

    def __init__(self, request: str, status: int, answer: Any) -> None:
        error = answer.get("error") if isinstance(answer, dict) else None
        kind = error.get("type") if isinstance(error, dict) else None
        reason = error.get("reason") if isinstance(error, dict) else answer
        super().__init__(f"{request}: {status} {kind or ''} {str(reason)[:500]}".replace("  ", " "))
        self.status = status
        self.kind = kind


class ClusterBusy(ClusterProblem):
    """Raised when the cluster does not carry out a request now, such as while it is read-only: the step waits."""


class ClusterAway(NodeAway):
    """Raised when no node of the cluster answers: the step waits."""


class SearchCluster:
    """The requests of the line. Every method raises `ClusterProblem`, or `ClusterAway` if nobody answers."""

    def __init__(self, access: HttpAccess) -> None:
        self._client = HttpClient(access, ClusterAway, seconds=ANSWER_SECONDS)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def settings(self, pattern: str) -> dict[str, dict[str, str]]:
        """Return the settings of the open indices that fit a pattern, by their names; none if there is no index."""
        return await self._settings(pattern, "open")

    async def index(self, name: str) -> dict[str, str] | None:
        """Return the settings of one index, which may be closed; None if there is none of this name."""
        return (await self._settings(name, "all")).get(name)

    async def written_to(self, name: str) -> str | None:
        """Return what writes to an index: an alias or a data stream; None if none does.

        An alias does that has it as its write index, or as its only index.
        """
        found = await self._ask("GET", f"{_part(name)}/_alias")
        for alias, settings in found.get(name, {}).get("aliases", {}).items():
            if settings.get("is_write_index", len(await self._ask("GET", f"_alias/{_part(alias)}")) == 1):
                return f"the alias {alias}"
        for stream in await self._data_streams():
            if stream["indices"][-1]["index_name"] == name:
                return f"the data stream {stream['name']}"
        return None

    async def operations(self, name: str, count: int) -> int | None:
        """Return a number that grows with each document of an index that is written or deleted.

        Return None if not all of its shards, of which there are `count`, can be asked.
        """
        found = await self._ask("GET", f"{_part(name)}/_stats/docs", {"level": "shards"})
        shards = found["indices"].get(name, {}).get("shards", {})
        if len(shards) < count:
            return None
        return sum(max(int(copy["seq_no"]["max_seq_no"]) for copy in copies) + 1 for copies in shards.values())

    async def snapshot(self, repository: str, name: str) -> dict[str, Any] | None:
        """Return what the repository knows of a snapshot; None if there is none of this name."""
        try:
            found = await self._ask("GET", f"_snapshot/{_part(repository)}/{_part(name)}")
        except ClusterProblem as problem:
            if problem.kind == "snapshot_missing_exception":
                return None
            raise
        return next((one for one in found["snapshots"] if one["snapshot"] == name), None)

    async def shards(self, repository: str, name: str) -> tuple[int, int]:
        """Return how many shards of a snapshot are done, and how many it has."""
        found = await self._ask("GET", f"_snapshot/{_part(repository)}/{_part(name)}/_status")
        stats = found["snapshots"][0]["shards_stats"]
        return stats["done"], stats["total"]

    async def start_snapshot(self, repository: str, name: str, indices: Sequence[str], metadata: Any) -> None:
        """Begin a snapshot of these indices, all of which must exist and have all of their shards."""
        body = {
            "indices": ",".join(indices),
            "ignore_unavailable": False,
            "include_global_state": False,
            "partial": False,
            "metadata": metadata,
        }
        await self._ask("PUT", f"_snapshot/{_part(repository)}/{_part(name)}", {"wait_for_completion": "false"}, body)

    async def delete_snapshot(self, repository: str, name: str) -> None:
        """Delete a snapshot."""
        await self._ask("DELETE", f"_snapshot/{_part(repository)}/{_part(name)}")

    async def delete_index(self, name: str) -> None:
        """Delete one index; one that does not exist is deleted already."""
        try:
            await self._ask("DELETE", _part(name))
        except ClusterProblem as problem:
            if problem.status != NOT_FOUND:
                raise

    async def start_deletion(self, indices: Sequence[str], query: Any) -> list[str]:
        """Begin to delete the documents that fit a query; return the tasks."""
        parameters = {"wait_for_completion": "false", "conflicts": "proceed"}
        return await self._tasks(indices, "_delete_by_query", parameters, {"query": query})

    async def start_merge(self, indices: Sequence[str]) -> list[str]:
        """Begin to merge segments that hold deleted documents; return the tasks."""
        return await self._tasks(
            indices, "_forcemerge", {"wait_for_completion": "false", "only_expunge_deletes": "true"}
        )

    async def task(self, task: str) -> dict[str, Any]:
        """Return the state of a task."""
        found: dict[str, Any] = await self._ask("GET", f"_tasks/{_part(task)}")
        return found

    async def _data_streams(self) -> list[dict[str, Any]]:
        try:
            return list((await self._ask("GET", "_data_stream"))["data_streams"])
        except ClusterProblem as problem:
            if problem.kind == "invalid_index_name_exception":  # a cluster without data streams takes it for an index
                return []
            raise

    async def _settings(self, pattern: str, expand: str) -> dict[str, dict[str, str]]:
        query = {"flat_settings": "true", "expand_wildcards": expand, "ignore_unavailable": "true"}
        found = await self._ask("GET", f"{_part(pattern)}/_settings", query)
        return {name: one["settings"] for name, one in found.items()}

    async def _tasks(
        self, indices: Sequence[str], what: str, parameters: Mapping[str, str], body: Any = None
    ) -> list[str]:
        """Begin a task for as many indices as an address has room for, and return all of them."""
        tasks = []
        for names in _lists(indices):
            found = await self._ask("POST", f"{names}/{what}", parameters, body)
            tasks.append(str(found["task"]))
        return tasks

    async def _ask(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        encoded = None if body is None else orjson.dumps(body)
        read = partial(_content, f"{method} /{path}")
        # what may have been done is not done again by another node: an index of this name may be a new one by then
        is_repeatable = method == "GET"
        return await self._client.ask(method, path, read, query=query, body=encoded, is_repeatable=is_repeatable)


def _content(request: str, answer: HttpAnswer) -> Any:
    found = answer.json()
    if answer.status in UNAVAILABLE or not isinstance(found, dict):
        raise ClusterAway(f"{answer.url} answered {answer.status} to {request}", answer.retry_after)
    if answer.status < 400:
        return found
    problem = ClusterProblem(request, answer.status, found)
    raise ClusterBusy(request, answer.status, found) if problem.kind in BUSY or answer.status == TOO_MANY else problem


def _part(text: str) -> str:
    return quote(text, safe="*,")


def _lists(indices: Sequence[str]) -> Iterator[str]:
    """Yield the names of indices as parts of an address, as many in each as it has room for."""
    listed = ""
    for part in map(_part, indices):
        if listed and len(listed) + 1 + len(part) > LIST_BYTES:
            yield listed
            listed = ""
        listed = f"{listed},{part}" if listed else part
    if listed:
        yield listed
