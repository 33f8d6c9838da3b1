"""A cluster of indices in memory, in place of the client of the line `maintenance`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from metroline.agents.lines.maintenance.cluster import ClusterAway, ClusterProblem

OLD, YOUNG = "1000", "9000000000000"
"""Times of creation."""


def index_settings(uuid: str, created: str, **more: str) -> dict[str, str]:
    """Return the settings of an index."""
    return {"index.uuid": uuid, "index.creation_date": created, "index.number_of_shards": "1"} | more


class MemoryCluster:
    """A cluster that is done with everything at the third question, and that notes what it is asked to change."""

    def __init__(self, **indices: str) -> None:
        """Take the time of creation of each index. Its UUID is its name with a number."""
        self.indices = {name: index_settings(f"{name}-1", at) for name, at in indices.items()}
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.pattern = "logs-*"
        """The pattern that all indices fit."""
        self.after_snapshot: Callable[[], object] = lambda: None
        """Called when a snapshot has begun."""
        self.writers: dict[str, str] = {}
        """The aliases and data streams that write to indices."""
        self.documents: dict[str, int | None] = {}
        self.ends_with = "SUCCESS"
        """The state with which snapshots end."""
        self.asked: dict[str, int] = {}
        self.changes: list[tuple[str, Any]] = []
        self.task_ends: dict[str, Any] = {"response": {"deleted": 7, "failures": []}}
        self.fails_after: set[str] = set()
        """Changes after which the connection breaks once, when the cluster has made them."""

    def recreate(self, name: str) -> None:
        """Put another index in the place of one."""
        self.indices[name] = index_settings(f"{name}-2", OLD)

    async def settings(self, pattern: str) -> dict[str, dict[str, str]]:
        return (
            dict(self.indices) if pattern == self.pattern else {k: v for k, v in self.indices.items() if k == pattern}
        )

    async def index(self, name: str) -> dict[str, str] | None:
        return self.indices.get(name)

    async def written_to(self, name: str) -> str | None:
        return self.writers.get(name)

    async def operations(self, name: str, count: int) -> int | None:
        return self.documents.get(name, 5)

    async def snapshot(self, repository: str, name: str) -> dict[str, Any] | None:
        found = self.snapshots.get(name)
        if found is not None and found["state"] == "IN_PROGRESS" and self._is_done(name):
            found["state"] = self.ends_with
        return None if found is None else dict(found)

    async def shards(self, repository: str, name: str) -> tuple[int, int]:
        return self.asked[name], 3

    async def start_snapshot(self, repository: str, name: str, indices: Sequence[str], metadata: Any) -> None:
        assert name not in self.snapshots, "a name is taken once"
        state = {"snapshot": name, "state": "IN_PROGRESS", "indices": list(indices), "metadata": metadata}
        self.snapshots[name] = state
        self.after_snapshot()
        self._changed("snapshot", sorted(indices))

    async def delete_snapshot(self, repository: str, name: str) -> None:
        del self.snapshots[name]
        self.asked.pop(name, None)
        self._changed("delete snapshot", name)

    async def delete_index(self, name: str) -> None:
        uuid = self.indices.pop(name)["index.uuid"]
        self._changed("delete", uuid)

    async def start_deletion(self, indices: Sequence[str], query: Any) -> list[str]:
        self._changed("delete by query", list(indices))
        return ["deletion"]

    async def start_merge(self, indices: Sequence[str]) -> list[str]:
        self._changed("merge", list(indices))
        return ["merge"]

    async def task(self, task: str) -> dict[str, Any]:
        if task not in ("deletion", "merge"):
            raise ClusterProblem("GET", 404, {})
        done = self._is_done(task)
        return {"completed": done, "task": {"status": {"deleted": 3, "total": 7}}} | (self.task_ends if done else {})

    def _is_done(self, what: str) -> bool:
        self.asked[what] = self.asked.get(what, 0) + 1
        return self.asked[what] >= 3

    def _changed(self, what: str, of: Any) -> None:
        self.changes.append((what, of))
        if what in self.fails_after:
            self.fails_after.remove(what)
            raise ClusterAway("the connection broke")
