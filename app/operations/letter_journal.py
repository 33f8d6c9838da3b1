"""The journal of dead letters: who replayed, edited or discarded each of them, also when it is gone.

Jobs say which letters they have; everything else that is done to letters is noted on the topic of jobs, before it is
done, and corrected if it is not done after all. The journal is bounded, so that the oldest entries make room.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count, islice

from msgspec import Struct
from pyroaring import BitMap

from metroline.app.operations.desk_index import Marks, block_and_marks, id_of_mark
from metroline.app.operations.letter_marks import portions_of
from metroline.routing.errors import UsageError
from metroline.routing.journeys.replay import MAX_REASON_CHARACTERS, record_before
from metroline.routing.journeys.replay_job_board import Jobs
from metroline.routing.journeys.replay_job_messages import Act, Done, Members, StartForeign, bitmap_in
from metroline.routing.journeys.replay_jobs import Job
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, block_key, mark_of, offset_of
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.segment import DiscardRequest, ReplayRequest

MAX_NAME = 200
"""Number of characters that a name has in a message."""


class LetterEntry(Struct, frozen=True):
    """One thing that was done to a dead letter. The time is in seconds since the epoch."""

    at: float
    what: str
    """`replay` or `discard`."""
    by: str
    reason: str
    generation: int
    """Number of times that the record was a dead letter before."""
    job: str | None
    """The job that did it; None without one."""
    state: str | None
    """The state of the job."""
    to: str | None
    """The stop to which the record was sent; None for the source."""
    is_edited: bool
    fields: list[str]
    """The fields that were set, as far as they are known."""
    record: str | None
    """The record as it was replayed, or its beginning, if it was edited by hand."""


def entries_of(requests: Sequence[Envelope], order: str, first: int = 0) -> Iterator[Done]:
    """Yield the entries of the journal for requests to the arrivals.

    `order` is the id of the replay or discard that they belong to, and `first` the number of its first entry.
    """
    number = count(first)
    groups: dict[tuple[Act, str, str, str | None, bool], Marks] = {}
    for request in requests:
        [segment] = request.segments
        mark, asked, latest = mark_of(segment.ids[0]), segment.request, segment.replays[-1]
        if mark is None:
            continue
        if isinstance(asked, DiscardRequest):
            act, reason, to = Act.DISCARD, asked.reason, None
        else:
            act, reason, to = Act.REPLAY, "", asked.stop if isinstance(asked, ReplayRequest) else None
        block = block_key(request.origin, offset_of(segment.ids[0]) // BLOCK_OFFSETS)
        together = groups.setdefault((act, latest.by, reason, to, latest.before is not None), {})
        together.setdefault((block, segment.generation), BitMap()).add(mark)
    for (act, by, reason, to, is_edited), marks in groups.items():
        record = record_before(requests[0].segments[0].lines[0]) if is_edited and len(requests) == 1 else None
        for blocks in portions_of(marks):
            yield Done(
                order=order,
                part=next(number),
                act=act,
                at=time.time(),
                by=by[:MAX_NAME] or "unknown",
                reason=reason[:MAX_REASON_CHARACTERS],
                to=to,
                is_edited=is_edited,
                record=record,
                count=sum(len(bitmap_in(encoded)) for _, _, encoded in blocks),
                blocks=blocks,
            )


def letter_journal(jobs: Jobs, name: str) -> list[LetterEntry]:
    """Return what was done to the dead letter with an id, the oldest entry first. Nothing was done to what is no id."""
    try:
        block, marks = block_and_marks(name)
    except UsageError:
        return []
    found = [
        _of_job(job, generation)
        for job in jobs.by_id.values()
        if not isinstance(job.start, StartForeign)
        for generation in _generations(job.letters or (), block.decode(), marks)
    ]
    found += [_of_done(done, one) for done in jobs.done.values() for one in _generations([done], block.decode(), marks)]
    return sorted(found, key=lambda entry: entry.at)


def _generations(parts: Sequence[Members | Done], block: str, marks: Sequence[int]) -> Iterator[int]:
    """Yield the generations of a letter that are in messages."""
    for part in parts:
        for key, generation, encoded in part.blocks:
            if key == block and any(mark in bitmap_in(encoded) for mark in marks):
                yield generation


def _of_job(job: Job, generation: int) -> LetterEntry:
    start = job.start
    return LetterEntry(
        at=start.at,
        what=job.act.value,
        by=start.by,
        reason=start.reason,
        generation=generation,
        job=job.id,
        state=str(job.state),
        to=start.to,
        is_edited=bool(start.fields),
        fields=list(start.fields),
        record=None,
    )


def _of_done(done: Done, generation: int) -> LetterEntry:
    return LetterEntry(
        at=done.at,
        what=done.act.value,
        by=done.by,
        reason=done.reason,
        generation=generation,
        job=None,
        state=None,
        to=done.to,
        is_edited=done.is_edited,
        fields=[],
        record=done.record,
    )


def entry_text(entry: LetterEntry) -> str:
    """Return what was done to a letter as text, without the time and the record."""
    done = "replayed" if entry.what == Act.REPLAY else "discarded"
    parts = [f"{done} by {entry.by}"]
    if entry.job is not None:
        parts.append(f"in the job {entry.job}, {entry.state}")
    if entry.what == Act.REPLAY:
        parts.append(f"to {entry.to or 'the source'}")
    if entry.is_edited:
        parts.append(f"edited{': ' if entry.fields else ''}{', '.join(entry.fields)}")
    return ", ".join(parts) + (f": {entry.reason}" if entry.reason else "")


def only_letter(done: Done) -> str:
    """Return the id of the only letter of an entry; empty if there are several."""
    marks = [(block, mark) for block, _, encoded in done.blocks[:1] for mark in islice(bitmap_in(encoded), 2)]
    if done.count != 1 or len(marks) != 1:
        return ""
    with suppress(ValueError):  # a forged key
        return id_of_mark(*marks[0])
    return ""
