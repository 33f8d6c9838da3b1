"""The announcements of workers, and the workers that are alive by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from metroline.agents.membership.roles import ON_RAMP
from metroline.routing.errors import MetrolineError
from metroline.routing.messages.header_checks import natural, seconds, text

ALIVE_SECONDS = 12.0
"""Time after its last announcement until a worker counts as dead."""

BEHIND_SECONDS = 4.5
"""Time for which a worker's announcement tells how far it is behind: one and a half of its regular intervals."""


class ConflictingRoles(MetrolineError):
    """Raised when a live worker plays the same part in another consumer group: both would handle each message."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker's announcement."""

    id: str
    group: str
    parts: tuple[str, ...]
    stops: tuple[str, ...]
    strategy: str
    url: str
    version: int
    started: float
    """Seconds since the epoch."""
    at: float
    """Seconds since the epoch, when the worker announced this."""
    gone: bool = False
    """The worker announced that it stops."""
    behind: float = 0.0
    """Seconds for which messages of the bus wait for this worker longer than usual."""
    source_behind: float = 0.0
    """Seconds for which records of the source wait for this worker."""
    ends: tuple[str, ...] = ()
    """The names of the ends that this worker knows."""

    def as_json(self) -> dict[str, Any]:
        """Return the announcement as a dict that `of_json` reads."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> WorkerInfo:
        """Read an announcement; raise LookupError, TypeError or `MetrolineError` if it is not one."""
        return cls(
            id=text(data["id"]),
            group=text(data["group"]),
            parts=tuple(map(text, data["parts"])),
            stops=tuple(map(text, data["stops"])),
            strategy=text(data["strategy"]),
            url=text(data["url"]),
            version=natural(data["version"]),
            started=seconds(data["started"]),
            at=seconds(data["at"]),
            gone=data["gone"] is True,
            behind=seconds(data.get("behind", 0.0)),
            source_behind=seconds(data.get("source_behind", 0.0)),
            ends=tuple(map(text, data.get("ends", ()))),
        )

    def conflict(self, other: WorkerInfo) -> frozenset[str]:
        """Return the parts that both workers play in different groups, which do not share their messages."""
        shared = (set(self.parts) & set(other.parts)) - {ON_RAMP}
        return frozenset(shared) if other.group != self.group else frozenset()


class LiveWorkers:
    """The latest announcement of each worker of a line."""

    def __init__(self) -> None:
        self._known: dict[str, WorkerInfo] = {}

    def observe(self, announcement: bytes | None) -> None:
        """Take the value of a message; ignore one that is not an announcement."""
        try:
            worker = WorkerInfo.of_json(orjson.loads(announcement or b""))
        except (LookupError, TypeError, ValueError, MetrolineError):
            return
        self._known[worker.id] = worker

    def alive(self, now: float) -> list[WorkerInfo]:
        """Return the workers whose last announcement is recent and does not say that they stop."""
        return [worker for worker in self._known.values() if not worker.gone and now - worker.at < ALIVE_SECONDS]

    def stops(self, now: float) -> frozenset[str]:
        """Return the stops that some live worker serves."""
        return frozenset(stop for worker in self.alive(now) for stop in worker.stops)

    def without_end(self, end: str, now: float) -> list[str]:
        """Return the addresses of the live workers that do not know the end with this name, sorted."""
        return sorted(worker.url for worker in self.alive(now) if end not in worker.ends)

    def behind(self, now: float) -> float:
        """Return the longest time for which messages wait for some worker, in seconds; 0 if all workers keep up."""
        return max((worker.behind for worker in self.alive(now) if abs(now - worker.at) < BEHIND_SECONDS), default=0.0)

    def refuse_conflicts(self, me: WorkerInfo, now: float) -> None:
        """Raise `ConflictingRoles` if a live worker that started before `me` has a conflicting role."""
        for other in self.alive(now):
            parts = me.conflict(other)
            if parts and (other.started, other.id) < (me.started, me.id):
                raise ConflictingRoles(
                    f"{', '.join(sorted(parts))} is played by a live worker of another role assignment ({other.group} "
                    f"at {other.url}): stop it, run `metroline hand-over`, then start this one ({me.group}); "
                    f"a worker that was killed counts as alive for {ALIVE_SECONDS:.0f} s"
                )
