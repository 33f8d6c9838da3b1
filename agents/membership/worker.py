"""The announcements of workers, and the workers that are alive by them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import orjson

from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.membership.roles import ON_RAMP, PARTS, SERVICE
from metroline.agents.membership.signatures import Signatures
from metroline.routing.errors import MetrolineError
from metroline.routing.messages.header_checks import natural, seconds, stop_name, text

ALIVE_SECONDS = 12.0
"""Time after its last announcement until a worker counts as dead."""

BEHIND_SECONDS = 4.5
"""Time for which a worker's announcement tells how far it is behind: one and a half of its regular intervals."""

MAX_AHEAD_SECONDS = 300.0
"""Time by which the clock of a worker may be ahead of ours."""

MAX_BYTES, MAX_KNOWN, MAX_KNOWN_BYTES = 256 * 1024, 1_000, 16 * 1024 * 1024
"""Size of an announcement, and number and bytes of those that are remembered. Anybody may write thousands of them."""

ADDRESS = re.compile(r"https?://(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?/?")
"""The address of a worker's web server, without path, query, fragment or login: nothing but its pages is asked."""


class NotAnAnnouncement(MetrolineError):
    """Raised for a message that is not an announcement of a worker of this line."""


class ConflictingRoles(MetrolineError):
    """Raised when a live worker plays the same part in another consumer group: both would handle each message."""

    def __init__(self, message: str, group: str) -> None:
        """`group` is that of the other worker."""
        super().__init__(message)
        self.group = group


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
    """The names of the ends that this worker knows, in Kafka and in other systems."""

    def as_json(self) -> dict[str, Any]:
        """Return the announcement as a dict that `of_json` reads."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> WorkerInfo:
        """Read an announcement; raise LookupError, TypeError or `MetrolineError` if it is not one."""
        return cls(
            id=text(data["id"]),
            group=text(data["group"]),
            parts=tuple(map(_part, data["parts"])),
            stops=tuple(map(stop_name, data["stops"])),
            strategy=text(data["strategy"]),
            url=_address(data["url"]),
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
    """The latest announcement of each worker of a line. Those of strangers are left out, as far as they are known."""

    def __init__(self, signatures: Signatures | None = None, foreign: ForeignMessages | None = None) -> None:
        """`signatures` verifies announcements; `foreign` counts those that are left out."""
        self.signatures = signatures or Signatures("", None)
        self._foreign = foreign or ForeignMessages()
        self._known: dict[str, WorkerInfo] = {}
        self._sizes: dict[str, int] = {}

    def observe(self, announcement: bytes | None, now: float | None = None, topic: str = "", offset: int = 0) -> None:
        """Take the value of a message; leave out one that is not an announcement of this line.

        `now`, in seconds since the epoch, bounds the time of the announcement; `topic` and `offset` name the message.
        """
        try:
            worker = self._read(announcement or b"", now)
            self._remember(worker, len(announcement or b""))
        except NotAnAnnouncement as error:
            self._foreign.leave_out(topic, 0, offset, error)

    def _read(self, announcement: bytes, now: float | None) -> WorkerInfo:
        if len(announcement) > MAX_BYTES:
            raise NotAnAnnouncement(f"an announcement of {len(announcement)} bytes")
        try:
            data = orjson.loads(announcement)
            worker = WorkerInfo.of_json(data)
        except (LookupError, TypeError, ValueError, MetrolineError) as error:
            raise NotAnAnnouncement(f"not an announcement: {type(error).__name__}: {error}") from error
        if not self.signatures.verify(data):
            raise NotAnAnnouncement(f"an announcement of {worker.url} that is not signed with CLUSTER_KEY")
        if now is None or worker.at <= now:
            return worker
        if worker.at > now + MAX_AHEAD_SECONDS:
            raise NotAnAnnouncement(f"an announcement of {worker.url} from the future: its clock is wrong")
        return replace(worker, at=now)

    def _remember(self, worker: WorkerInfo, size: int) -> None:
        known = self._known.get(worker.id)
        if known is not None and worker.at < known.at:
            return  # one that somebody repeats
        if known is None and self._is_full(size):
            for id in [one.id for one in self._known.values() if not _is_alive(one, worker.at)]:
                del self._known[id], self._sizes[id]
            if self._is_full(size):
                raise NotAnAnnouncement(f"an announcement of {worker.url}, and there are {len(self._known)} workers")
        self._known[worker.id], self._sizes[worker.id] = worker, size

    def _is_full(self, size: int) -> bool:
        return len(self._known) >= MAX_KNOWN or sum(self._sizes.values()) + size > MAX_KNOWN_BYTES

    def alive(self, now: float) -> list[WorkerInfo]:
        """Return the workers whose last announcement is recent and does not say that they stop."""
        return [worker for worker in self._known.values() if _is_alive(worker, now)]

    def stops(self, now: float) -> frozenset[str]:
        """Return the stops that some live worker serves."""
        return frozenset(stop for worker in self.alive(now) for stop in worker.stops)

    def others_at(self, stop: str, me: str, now: float) -> int:
        """Return the number of live workers that serve a stop, without the one whose id is `me`."""
        return sum(stop in worker.stops and worker.id != me for worker in self.alive(now))

    def ends(self, now: float) -> frozenset[str]:
        """Return the ends that some live worker knows."""
        return frozenset(end for worker in self.alive(now) for end in worker.ends)

    def without_end(self, end: str, now: float, part: str | None = None) -> list[str]:
        """Return the addresses of the live workers that do not know the end with this name, sorted.

        With `part`, only those that play this part are asked.
        """
        asked = [worker for worker in self.alive(now) if part is None or part in worker.parts]
        return sorted(worker.url for worker in asked if end not in worker.ends)

    def others_behind(self, me: str, now: float) -> float:
        """Return the longest time for which messages wait for a worker whose id is not `me`, in seconds.

        0 if all of them keep up.
        """
        others = [worker for worker in self.alive(now) if worker.id != me and abs(now - worker.at) < BEHIND_SECONDS]
        return max((worker.behind for worker in others), default=0.0)

    def conflicts(self, me: WorkerInfo, now: float) -> Iterator[ConflictingRoles]:
        """Yield an error for each live worker that started before `me` and has a conflicting role."""
        for other in self.alive(now):
            parts = me.conflict(other)
            if parts and (other.started, other.id) < (me.started, me.id):
                yield ConflictingRoles(
                    f"{', '.join(sorted(parts))} is played by a live worker of another role assignment ({other.group} "
                    f"at {other.url}): stop it, run `metroline hand-over`, then start this one ({me.group}); "
                    f"a worker that was killed counts as alive for {ALIVE_SECONDS:.0f} s",
                    other.group,
                )


def _is_alive(worker: WorkerInfo, now: float) -> bool:
    return not worker.gone and now - worker.at < ALIVE_SECONDS


def _part(value: Any) -> str:
    if text(value).startswith(SERVICE):
        stop_name(value.removeprefix(SERVICE))
    elif value not in PARTS:
        raise MetrolineError(f"{value!r:.100} is not a part of a line")
    return str(value)


def _address(value: Any) -> str:
    if not ADDRESS.fullmatch(text(value)):
        raise MetrolineError(f"{value!r:.100} is not the address of a web server, http://HOST:PORT")
    return str(value)
