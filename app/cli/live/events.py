"""The events of a live line, each as lines for people and as fields for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from metroline.app.local.worker_process import WorkerProcess
from metroline.app.markup.numbers import count


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """A worker of the line, as long as it is not replaced."""

    pid: int
    url: str
    log: str
    """The file to which it writes until it ends."""

    @classmethod
    def of(cls, workers: list[WorkerProcess]) -> tuple[LiveWorker, ...]:
        return tuple(cls(one.child.pid, one.url, str(one.child.log)) for one in workers)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens while a line runs. The fields of a subclass are those of its JSON object."""

    name: ClassVar[str]

    def lines(self) -> Iterator[str]:
        """Yield the lines that people read."""
        raise NotImplementedError

    def as_json(self) -> dict[str, Any]:
        return {"event": self.name, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Started(Event):
    """The workers are ready."""

    name = "started"
    line: str
    strategy: str
    broker: str
    source: str
    """The source topic."""
    workers: tuple[LiveWorker, ...]
    push: str
    """The command that sends records, for any shell and folder."""
    publish: str
    """The command that publishes other rules."""
    secrets: tuple[str, ...] = ()
    """The variables that both commands also need."""
    token: str | None = None
    """The token with which people log in to the pages; None if the environment has one."""

    def lines(self) -> Iterator[str]:
        yield f"line {self.line} runs by {self.strategy} on {self.broker}; source topic: {self.source}"
        for one in self.workers:
            yield f"worker {one.pid}: {one.url}/table/ (its log, until it ends: {one.log})"
        for one in self.workers[:1]:
            token = "METROLINE_TOKEN, as set here" if self.token is None else f"the token {self.token}"
            yield f"to change something in a browser: log in at {one.url}/login with {token}"
        yield f"to send records: {self.push}"
        yield f"to publish other rules: {self.publish}"
        if self.secrets:
            yield f"both commands also need {', '.join(self.secrets)}, as set here"
        yield "Ctrl-C ends it"


@dataclass(frozen=True, slots=True)
class Output(Event):
    """A worker, or a service in it, has written a line."""

    name = "output"
    stop: str | None
    """The stop whose service, or the resource that, wrote the line; None for the worker itself."""
    text: str
    """The line, without the name of the stop."""
    log: str
    """The log of the worker."""

    def lines(self) -> Iterator[str]:
        yield self.text if self.stop is None else f"{self.stop} | {self.text}"


@dataclass(frozen=True, slots=True)
class Counts(Event):
    """The number of records by outcome."""

    name = "counts"
    delivered: int = 0
    dropped: int = 0
    dead: int = 0
    retries: int = 0
    records_per_second: float = 0.0
    behind: float = 0.0
    """Age of the oldest record that waits, in seconds."""
    scheduled: int = 0
    """Those of the records with an outcome that schedules let enter."""
    lag: str | None = field(default=None, compare=False)
    """The delay of the line, in words; None if it keeps up."""

    @property
    def text(self) -> str:
        """The counts as one line."""
        return "; ".join(self._parts())

    def lines(self) -> Iterator[str]:
        yield self.text

    def sums(self) -> dict[str, int]:
        """Return the numbers of records and retries."""
        names = ("delivered", "dropped", "dead", "scheduled", "retries")
        return {name: getattr(self, name) for name in names}

    def as_json(self) -> dict[str, Any]:
        rates = {"records_per_second": round(self.records_per_second, 1), "behind": round(self.behind, 2)}
        return {"event": self.name, **self.sums(), **rates}

    def _parts(self) -> Iterator[str]:
        yield f"{count(self.delivered)} delivered, {count(self.dropped)} dropped, {count(self.dead)} dead"
        if self.scheduled:
            yield f"{count(self.scheduled)} of these by schedules"
        if self.retries:
            yield f"{count(self.retries)} {'retry' if self.retries == 1 else 'retries'}"
        yield f"{self.records_per_second:.0f} records/s"
        if self.lag:
            yield self.lag


@dataclass(frozen=True, slots=True)
class Changed(Event):
    """Changed files have taken effect."""

    name = "changed"
    files: tuple[str, ...]
    """As seen from the folder of the line."""
    workers: tuple[LiveWorker, ...] | None
    """The workers that have replaced the others; None if none were replaced."""
    rules_version: int | None
    """The version of the rules that were published; None if none were."""
    samples: bool
    """True if the line's own records come in anew, from the first one on."""
    seconds: float

    def lines(self) -> Iterator[str]:
        done = [] if self.workers is None else ["new workers run"]
        if self.rules_version is not None:
            done.append(f"the rules are at version {self.rules_version}")
        effect = ", ".join(done) or ("read" if self.samples else "the workers read the new version")
        yield f"{', '.join(self.files)} changed: {effect} after {self.seconds:.1f} s"

    def as_json(self) -> dict[str, Any]:
        return {**Event.as_json(self), "seconds": round(self.seconds, 2)}


@dataclass(frozen=True, slots=True)
class Refused(Event):
    """Changed files cannot be used."""

    name = "refused"
    files: tuple[str, ...]
    problems: tuple[str, ...]
    """A text that says what is wrong and where. It may have several lines."""
    runs_on: bool
    """True if what ran before goes on; False if no worker runs until a file changes again."""

    def lines(self) -> Iterator[str]:
        for problem in self.problems:
            yield from problem.splitlines()
        then = "what ran before goes on" if self.runs_on else "no worker runs until a file changes again"
        yield f"{', '.join(self.files)} changed, but cannot be used: {then}"


@dataclass(frozen=True, slots=True)
class Problem(Event):
    """Something that whoever runs the line should know."""

    name = "problem"
    severity: Literal["note", "warning", "error"]
    text: str

    def lines(self) -> Iterator[str]:
        yield self.text if self.severity == "note" else f"{self.severity}: {self.text}"


@dataclass(frozen=True, slots=True)
class Ended(Event):
    """The workers have stopped."""

    name = "ended"
    counts: Counts
    error: str | None
    """The error that ended the line; None if it was stopped."""

    def lines(self) -> Iterator[str]:
        yield from ()

    def as_json(self) -> dict[str, Any]:
        return {"event": self.name, **self.counts.sums(), "error": self.error}
