"""The cluster whose indices the line looks after: a client of the HTTP interface of OpenSearch and Elasticsearch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp

ANSWER_SECONDS = 60.0
"""Longest time for one request."""

NOT_FOUND = 404

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


class SearchCluster:
    """The requests of the line. Every method raises `ClusterProblem`, or an error of aiohttp if nobody answers."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url.rstrip("/")

    async def settings(self, pattern: str) -> dict[str, dict[str, str]]:
        """Return the settings of the open indices that fit a pattern, by their names; none if there is no index."""
        path = f"{_part(pattern)}/_settings"
        query = {"flat_settings": "true", "expand_wildcards": "open", "ignore_unavailable": "true"}
        found = await self._ask("GET", path, query)
        return {name: one["settings"] for name, one in found.items()}

    async def uuids(self, names: Sequence[str]) -> dict[str, str]:
        """Return the UUIDs that indices have now; those that do not exist are left out."""
        found = {}
        for name in names:  # one by one: the names of all would not fit into an address
            settings = (await self.settings(name)).get(name)
            if settings is not None:
                found[name] = settings["index.uuid"]
        return found

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
        limit = aiohttp.ClientTimeout(ANSWER_SECONDS)
        async with self._session.request(
            method, f"{self._url}/{path}", params=query, json=body, timeout=limit
        ) as response:
            answer = await response.json(content_type=None)
            if response.status >= 400:
                raise ClusterProblem(f"{method} /{path}", response.status, answer)
            return answer


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
