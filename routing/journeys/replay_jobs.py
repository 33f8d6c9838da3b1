"""A job that replays or discards many dead letters: its state as its messages describe it, and its next step.

A job has no list of what it has sent. Its letters are known by their marks and generations, and the table `outcomes`
tells of each whether it is still dead, under way, dead again or has another outcome.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from metroline.routing.journeys.replay import MAX_REASON_CHARACTERS
from metroline.routing.journeys.replay_job_messages import (
    Act,
    Ask,
    JobState,
    Members,
    Message,
    Progress,
    Start,
    StartDiscard,
    StartForeign,
    Tally,
    Wish,
)

MAX_SHOWN = 20
"""Number of reasons for which letters were left out, and of orders, that a job keeps."""


def after(state: JobState, wish: Wish) -> JobState:
    """Return the state in which an order leaves a job. An order that does not fit changes nothing."""
    if state.is_final:
        return state
    if wish is Wish.CANCEL:
        return JobState.CANCELLED
    if wish is Wish.RESUME:
        return JobState.RUNNING
    return JobState.PAUSED if state is JobState.RUNNING else state


@dataclass(slots=True)
class Job:
    """A job as the messages so far describe it."""

    start: Start
    asks: list[tuple[int, Ask]] = field(default_factory=list)
    """The orders with their offsets."""
    progress: Progress | None = None
    is_overtaken: bool = False
    """True if older progress with the key of `progress` came after it: compaction would keep the older one alone."""
    members: dict[int, dict[int, Members]] = field(default_factory=dict)
    """The parts of its letters, by the epoch in which they were found."""
    chosen: int | None = None
    """The epoch whose parts were complete first: they are the letters of the job."""

    @property
    def id(self) -> str:
        return self.start.job

    @property
    def act(self) -> Act:
        return Act.DISCARD if isinstance(self.start, StartDiscard) else Act.REPLAY

    @property
    def topic(self) -> str | None:
        """The topic of its letters if they are of another system."""
        return self.start.topic if isinstance(self.start, StartForeign) else None

    @property
    def state(self) -> JobState:
        """The state, with all orders."""
        state = self.progress.state if self.progress else JobState.RUNNING
        for ask in self.pending:
            state = after(state, ask.wish)
        return state

    @property
    def pending(self) -> list[Ask]:
        """The orders that the worker had not read when it last wrote its progress."""
        seen = self.progress.seen if self.progress else 0
        return [ask for offset, ask in self.asks if offset >= seen]

    @property
    def is_resumed(self) -> bool:
        """True if a job that had stopped by itself has been resumed, and no worker has taken note of it yet."""
        state = self.progress.state if self.progress else JobState.RUNNING
        for ask in self.pending:
            if state is JobState.STOPPED and ask.wish is Wish.RESUME:
                return True
            state = after(state, ask.wish)
        return False

    @property
    def is_closed(self) -> bool:
        """True if a worker has written that the job is done or cancelled."""
        return self.progress is not None and self.progress.state.is_final

    def messages(self) -> Iterator[Message]:
        """Yield the messages about the job, as far as they are kept."""
        yield self.start
        yield from (ask for _, ask in self.asks)
        for parts in self.members.values():
            yield from parts.values()
        if self.progress is not None:
            yield self.progress

    @property
    def letters(self) -> list[Members] | None:
        """The parts of its letters; None while no worker has found them."""
        return None if self.chosen is None else list(self.members[self.chosen].values())


def note_of(job: Job) -> str:
    """Return the reason why a job is in its state: that of the latest order, or what a worker found."""
    before = job.progress
    note = before.note if before is not None and before.state is job.state else ""
    for ask in job.pending:
        if ask.reason and ask.wish is not Wish.RESUME:
            note = ask.reason
    return note


class Step(NamedTuple):
    """The next step of a running job: letters that may be sent now, and the state to change to."""

    allowed: int = 0
    state: JobState = JobState.RUNNING
    note: str = ""


def next_step(start: Start, tally: Tally, base: tuple[int, int], quiet: float) -> Step:
    """Return the next step of a running job.

    `tally` counts a letter that was sent as replayed. `base` are the counts from which the ramp and the share begin,
    and `quiet` is the time since anything was sent or found, in seconds.
    """
    replayed, dead = max(0, tally.replayed - base[0]), max(0, tally.dead_again - base[1])
    waits = tally.under_way > 0 and quiet < start.patience
    end, following = _steps(start.ramp, replayed)
    step = min(end, replayed + tally.remaining)
    if dead > start.stop_at * max(step, 1):
        return Step(0, JobState.STOPPED, f"{dead} of {replayed} replayed dead letters are dead again")
    if tally.remaining == 0:
        return Step() if waits else Step(0, JobState.DONE)
    if isinstance(start, StartDiscard):  # nothing is to be learnt from the first ones
        return Step(tally.remaining)
    if replayed < end:
        return Step(min(end - replayed, tally.remaining))
    return Step() if waits else Step(min(following, tally.remaining))


def _steps(ramp: Sequence[int], replayed: int) -> tuple[int, int]:
    """Return the number of letters at which the present step ends, and the size of the next step.

    Where a step has just ended, it is the present one: its outcomes are waited for.
    """
    end = 0
    for size in ramp:
        if replayed <= end:
            return end, size
        end += size
    last = ramp[-1]
    end += -(-max(0, replayed - end) // last) * last
    return end, last


def shown_reasons(reasons: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent reasons with their counts; the others together, as the last one."""
    ordered = sorted(reasons.items(), key=lambda one: (-one[1], one[0]))
    shown = {reason[:MAX_REASON_CHARACTERS]: count for reason, count in ordered[:MAX_SHOWN]}
    if rest := sum(count for _, count in ordered[MAX_SHOWN:]):
        shown["other reasons"] = shown.get("other reasons", 0) + rest
    return shown
