"""Carries out replay jobs: one worker of the line at a time, which may end at any moment."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
from aiokafka.errors import KafkaError
from mode import Service
from pyroaring import BitMap

from metroline.agents.delivery.bus import Bus
from metroline.agents.kafka.producer import NOW, Confirmation, KeyedMessage, NotSent
from metroline.agents.kafka.regularly import regularly
from metroline.agents.services.service import Service as LineService
from metroline.app.operations.desk import MAX_PAGE_BYTES, PAUSE_AFTER, PAUSE_SECONDS, Desk
from metroline.app.operations.desk_index import DeskIndex, Mark, Marks, Reference
from metroline.app.operations.edit_checks import check_edits
from metroline.app.operations.foreign_index import Offsets
from metroline.app.operations.foreign_jobs import DELETED, TAKEN, ForeignJobs, offsets_of
from metroline.app.operations.foreign_letters import ForeignDesk
from metroline.app.operations.letter import Letter
from metroline.app.operations.letter_marks import marks_in, portions_of
from metroline.app.operations.replay_jobs import JobBoard
from metroline.app.operations.replays import Replays, discard
from metroline.app.operations.rereading import Rereading
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import MetrolineError, UsageError
from metroline.routing.journeys.replay import MAX_REASON_CHARACTERS
from metroline.routing.journeys.replay_job_board import Jobs
from metroline.routing.journeys.replay_job_messages import (
    Claim,
    JobState,
    Members,
    Message,
    Progress,
    Start,
    StartDiscard,
    StartForeign,
    Tally,
    encode,
)
from metroline.routing.journeys.replay_jobs import Job, next_step, note_of, shown_reasons
from metroline.routing.journeys.settlement import EMPTY
from metroline.routing.strategies import RuleTables

TURN_SECONDS = 0.25
"""Time between two looks at a running job while it gets on."""

IDLE_SECONDS = 2.0
"""Time between two looks at the topic of jobs while nothing changes. Each costs about a tenth of a second of CPU."""

SLOWER = 1.5
"""Factor by which the time between two looks grows as long as nothing changes."""

CLAIM_SECONDS = 10.0
"""Time for which the owner leaves jobs to another worker that has claimed them. By then, that one knows better."""

CONFIRM_SECONDS = 30.0
"""Time that the brokers have to confirm requests before they are looked for again."""

DELETED_TOGETHER = 100
"""Entries of the journal without room from which on they are deleted."""

TIDY_SECONDS = 60.0
"""Time between two looks at the notes about letters of other systems."""

FOLD_SECONDS = 600.0
"""Age of the last note of a replay without a job from which on it counts as ended."""

MAX_SENT = 1_000
"""Requests of a job that are sent at a look."""

NOT_TAKEN_UP = "the arrivals have not taken up the request"
NOT_DEAD = "not dead when the job began"


NO_TALLY = Tally()


@dataclass(slots=True)
class _Work:
    """The things that this worker knows of a job that it carries out, beside what the topic says."""

    marks: Marks
    found_left_out: dict[str, int]
    sent: dict[Mark, float] = field(default_factory=dict)
    """Letters whose request was sent and has had no effect so far, with the time of it."""
    skipped: dict[Mark, str] = field(default_factory=dict)
    """Letters that cannot be replayed, with the reason."""
    cursor: str | None = None
    """Id of the last letter of the group that was looked at."""
    budget: float = 1.0
    """Letters that the rate allows now."""
    filled_at: float = field(default_factory=time.monotonic)
    changed_at: float = field(default_factory=time.monotonic)
    tally: Tally = NO_TALLY
    places: Offsets = field(default_factory=dict)
    """The letters of another system, by partition."""
    taken: int = 0
    """Letters of another system that were replayed or discarded by somebody else since the job began."""


class ReplayRunner(Service):
    """Takes the next step of each job from time to time, while this worker owns the first partition of the outcomes."""

    def __init__(
        self,
        bus: Bus,
        desk: Desk,
        board: JobBoard,
        worker: Callable[[], str],
        ownership: Callable[[], int | None],
        rule_tables: Callable[[], RuleTables],
        read_again: Callable[[Sequence[Letter]], Awaitable[Rereading]],
        foreign: Mapping[str, ForeignDesk] | None = None,
        services: Mapping[str, LineService] | None = None,
        **kwargs: Any,
    ) -> None:
        """`ownership` returns the epoch in which this worker owns the partition; None if it does not.

        `foreign` are the desks of other systems by their topics, and `services` those of the line by their stops.
        """
        super().__init__(**kwargs)
        self.desk = desk
        self.board = board
        self._bus = bus
        self._worker = worker
        self._ownership = ownership
        self._rule_tables = rule_tables
        self._read_again = read_again
        self._foreign = ForeignJobs(foreign or {})
        self._jobs = Jobs()
        """The jobs as they were read at the beginning of the turn."""
        self._services = services or {}
        self._owned: int | None = None
        """The epoch of the ownership for which jobs were claimed."""
        self._token = ""
        self._yielded_at: float | None = None
        """Time at which another worker was first seen to have claimed the jobs since."""
        self._work: dict[str, _Work] = {}
        self._number = 0
        """Number of the progress that was written last."""
        self._problems: dict[str, str] = {}
        """The problem that was logged last, by the job; the key of those of no job is empty."""
        self._tidied_at = float("-inf")
        self._got_on = False
        """True if anything was sent or written at the present turn."""

    @Service.task
    async def _run(self) -> None:
        looked_at, rest = float("-inf"), IDLE_SECONDS
        async for _ in regularly(self, TURN_SECONDS):
            if self._ownership() is None:
                self._forget()
                continue
            if time.monotonic() - looked_at < rest:
                continue
            looked_at = time.monotonic()
            try:
                got_on = await self.turn()
                rest = TURN_SECONDS if got_on else min(IDLE_SECONDS, rest * SLOWER)
            except Exception as error:  # noqa: BLE001 - whatever is on the topic, the worker goes on
                self._tell(error)
                await self.sleep(IDLE_SECONDS)

    def _tell(self, error: Exception, job: str = "") -> None:
        """Log a problem, unless it is the last one of the job that was logged."""
        if str(error) != self._problems.get(job) and not self.should_stop:
            self._problems[job] = str(error)
            self.log.warning(
                "replay jobs cannot be carried out at present, trying again: %s",
                error,
                exc_info=None if isinstance(error, (MetrolineError, KafkaError, OSError)) else error,
            )

    def _forget(self) -> None:
        self._owned, self._yielded_at = None, None
        self._work.clear()

    async def turn(self) -> bool:
        """Take the next step of each open job, if this worker is the one to do so. Return whether any got on."""
        jobs = self._jobs = await self.board.jobs()
        jobs_open = jobs.open
        for known in (self._work, self._problems):
            for closed in known.keys() - {"", *(job.id for job in jobs_open)}:
                del known[closed]
        overtaken, surplus = jobs.overtaken, list(islice(jobs.surplus, MAX_SENT))
        is_untidy = bool(jobs.taken) and time.monotonic() - self._tidied_at >= TIDY_SECONDS
        if not jobs_open and not overtaken and not is_untidy and len(surplus) < DELETED_TOGETHER:
            return False
        self._got_on = False
        if await self._is_in_charge(jobs):
            epoch = jobs.epoch  # what is written at this turn is of this claim, even if another one is read meanwhile
            for job in overtaken:
                await self._repeat(job, epoch)
            if len(surplus) >= DELETED_TOGETHER:
                await self._delete(surplus)
            if is_untidy:
                await self._tidy(jobs)
            for job in jobs_open:
                try:
                    if await self._carry_out(job, jobs, epoch):
                        break  # its letters are read back before another job takes any
                except Exception as error:  # noqa: BLE001 - the others go on, whatever is in a letter
                    self._tell(error, job.id)
        return self._got_on

    async def _is_in_charge(self, jobs: Jobs) -> bool:
        """Return whether this worker's claim is the latest one; make one if it has none since it became the owner."""
        owned = self._ownership()
        if owned is None:
            return False
        if owned != self._owned:
            self._forget()
            token = uuid.uuid4().hex
            await self._write(Claim(owner=token, worker=self._worker(), at=time.time()))
            self._owned, self._token = owned, token
            return False  # the claim is read at the next turn
        if jobs.claim is not None and jobs.claim.owner == self._token:
            self._yielded_at = None
            if jobs.is_outranked:
                self._forget()  # a claim of its own again has a higher epoch
            return not jobs.is_outranked
        self._work.clear()
        now = time.monotonic()
        self._yielded_at = now if self._yielded_at is None else self._yielded_at
        if now - self._yielded_at >= CLAIM_SECONDS:  # it is still the owner, so the other one was not
            self._forget()
        return False

    async def _carry_out(self, job: Job, jobs: Jobs, epoch: int) -> bool:
        """Take the next step of a job. Return whether that was to find its letters."""
        state, note, seen = job.state, note_of(job), jobs.end  # orders that are read from now on come at the next turn
        base = job.progress.base if job.progress is not None else (0, 0)
        problem = self._foreign.problem(job.start) if isinstance(job.start, StartForeign) else None
        if problem is not None:  # its letters cannot be looked at
            known = job.progress or Progress(job=job.id, epoch=epoch, seen=seen, at=time.time(), state=state)
            state, note = (JobState.STOPPED, problem) if state is JobState.RUNNING else (state, note)
            latest = msgspec.structs.replace(known, epoch=epoch, seen=seen, at=time.time(), state=state, note=note)
            await self._write_progress(job, latest)
            return False
        if state is JobState.RUNNING and job.letters is None:
            self.log.info("the replay job %s of %s begins", job.id, job.start.by)
            await self._find_letters(job, jobs, epoch)
            return True
        work = self._work.get(job.id)
        if state is not JobState.RUNNING and work is not None and not job.pending and not work.tally.under_way:
            return False  # nothing changes
        if work is None:
            work = self._work[job.id] = _Work(*_letters_of(job.letters or ()))
            work.places = offsets_of(work.marks) if job.topic is not None else {}
        tally = await self._tally(job.start, work)
        if tally != work.tally:
            work.tally, work.changed_at = tally, time.monotonic()
        if job.is_resumed:
            base = max(0, tally.replayed - tally.under_way), tally.dead_again
        if state is JobState.RUNNING:
            step = next_step(job.start, tally, base, time.monotonic() - work.changed_at)
            state, note = step.state, step.note
            if step.allowed:
                note = await self._send(job.start, work, step.allowed)
                if job.topic is None:  # what was sent to other systems is read back at the next turn
                    tally = await self._tally(job.start, work)
                if tally != work.tally:
                    work.tally, work.changed_at = tally, time.monotonic()
        left_out = Counter(work.found_left_out) + Counter(work.skipped.values()) + Counter({TAKEN: work.taken})
        await self._write_progress(
            job,
            Progress(
                job=job.id,
                epoch=epoch,
                seen=seen,
                at=time.time(),
                state=state,
                tally=tally,
                left_out=shown_reasons(left_out),
                base=base,
                note=note,
            ),
        )
        return False

    async def _delete(self, keys: Sequence[str]) -> None:
        """Delete messages that are needed no more."""
        self._got_on = True
        topic = self._bus.topics.replay_jobs
        messages: list[KeyedMessage] = [(None, key.encode(), 0, NOW, []) for key in keys]
        await _confirmed([await self._bus.produce_all(topic, messages)], topic)

    async def _tidy(self, jobs: Jobs) -> None:
        """Write one note for the many of a job or replay that has ended, and delete notes about letters that are gone.

        The notes of what was replayed or discarded are needed until the topic of the letters does not hold these any
        more: without them, they would be listed and replayed again.
        """
        self._tidied_at = time.monotonic()
        for whole, others in islice(jobs.folds(time.time() - FOLD_SECONDS), MAX_SENT):
            await self._write(whole)  # before what it stands for is deleted
            await self._delete(others)
        if past := await self._foreign.past(jobs):
            await self._delete(past)

    async def _repeat(self, job: Job, epoch: int) -> None:
        """Write the progress of a job again, so that compaction keeps it: an older one was written after it."""
        if job.progress is not None:
            await self._write(msgspec.structs.replace(job.progress, epoch=epoch, number=self._next_number(job, epoch)))

    def _next_number(self, job: Job, epoch: int) -> int:
        """Return a number for progress in an epoch that is higher than any so far, also than those still to come."""
        known = job.progress.number if job.progress is not None and job.progress.epoch == epoch else 0
        self._number = max(self._number, known) + 1
        return self._number

    async def _write_progress(self, job: Job, progress: Progress) -> None:
        """Write the progress unless the topic says the same."""
        before = job.progress
        if before is not None and not job.pending:
            known = msgspec.structs.replace(progress, at=before.at, seen=before.seen, number=before.number)
            if known == before:
                return
        number = self._next_number(job, progress.epoch)
        if progress.state.is_final:
            self.log.info("the replay job %s is %s: %s", job.id, progress.state, _told(progress.tally))
        elif progress.state is JobState.STOPPED and (before is None or before.state is not JobState.STOPPED):
            self.log.warning("the replay job %s stops: %s", job.id, progress.note)
        await self._write(msgspec.structs.replace(progress, number=number))
        if progress.state.is_final:  # what the oldest jobs had makes room, and is compacted
            jobs = await self.board.jobs()
            if parts := [msgspec.structs.replace(part, blocks=()) for part in jobs.without_room()]:
                await self._write(*parts)

    async def _write(self, *messages: Message) -> None:
        """Write messages to the topic of jobs; return when all are confirmed. Raise `NotSent`."""
        self._got_on = True
        topic, confirmations = self._bus.topics.replay_jobs, []
        for message in messages:
            key, value = encode(message)
            confirmations.append(await self._bus.produce(topic, 0, value, key=key))
        await _confirmed(confirmations, topic)

    async def _find_letters(self, job: Job, jobs: Jobs, epoch: int) -> None:
        """Find the letters of a job, without those of other jobs, and write which they are."""
        others = {
            other.id: _letters_of(other.letters)[0]
            for other in jobs.open
            if other.id != job.id and other.letters is not None
        }
        if isinstance(job.start, StartForeign):
            marks, left_out = await self._foreign.found(job.start, others, jobs)
        else:
            marks, left_out = await self.desk.asked(lambda index: _found(index, job.start, others))
        await self._write(*_parts(job.id, epoch, marks, left_out))
        self._work.pop(job.id, None)  # made while the job had no letters, if it was paused before it began

    async def _tally(self, start: Start, work: _Work) -> Tally:
        """Return what has become of the letters; those whose request is on its way count as under way."""
        if isinstance(start, StartForeign):
            return await self._foreign_tally(start, work)
        patience = start.patience

        def ask(index: DeskIndex) -> tuple[Tally, list[Mark], list[Mark]]:
            sent = [mark for mark in work.sent if index.is_waiting(mark)]
            return index.tally(work.marks), sent, [mark for mark in work.skipped if index.is_waiting(mark)]

        found, sent, skipped = await self.desk.asked(ask)
        now = time.monotonic()
        late = {mark for mark in sent if now - work.sent[mark] > max(patience, CONFIRM_SECONDS)}
        work.sent = {mark: work.sent[mark] for mark in sent if mark not in late}
        work.skipped = {mark: work.skipped[mark] for mark in skipped} | dict.fromkeys(late, NOT_TAKEN_UP)
        found_left_out = sum(work.found_left_out.values())
        return Tally(
            found.total + found_left_out,
            found.replayed + len(work.sent),
            found.ended,
            found.dead_again,
            found.under_way + len(work.sent),
            found_left_out + len(work.skipped),
        )

    async def _foreign_tally(self, start: StartForeign, work: _Work) -> Tally:
        tally, work.taken = await self._foreign.tally(start, work.places, work.skipped, self._jobs)
        before = sum(work.found_left_out.values())
        return msgspec.structs.replace(tally, total=tally.total + before, left_out=tally.left_out + before)

    async def _send(self, start: Start, work: _Work, allowed: int) -> str:
        """Send requests for the next letters, as many as the rate allows. Return the reason if that is not possible."""
        now = time.monotonic()
        work.budget = min(work.budget + start.rate * (now - work.filled_at), max(1.0, 2 * start.rate))
        work.filled_at = now
        count = min(allowed, int(work.budget), MAX_SENT)
        if count < 1:
            return ""
        if isinstance(start, StartForeign):
            sent = await self._foreign.send(start, work.places, count, work.skipped, self._jobs)
            work.budget -= sent
            if sent:
                self._got_on, work.changed_at = True, time.monotonic()
            return ""
        is_whole = work.cursor is None
        found = await self.desk.asked(lambda index: _next(index, start, work, count))
        if is_whole and not found:  # they were deleted from the topic: no worker will ever find them
            gone = await self.desk.asked(lambda index: [mark for mark in _due(work) if index.is_waiting(mark)])
            work.skipped |= dict.fromkeys(gone, DELETED)
            return ""
        letters = {letter.id: letter for letter in await self.desk.fetched([reference for reference, _ in found])}
        try:
            reread = Rereading() if isinstance(start, StartDiscard) else await self._read_again(list(letters.values()))
        except MetrolineError as error:
            return f"waiting: {error}"[:MAX_REASON_CHARACTERS]
        confirmations = []
        for reference, mark in found:
            letter = letters.get(reference.id)
            request = self._request(start, letter, reread) if letter else DELETED
            if isinstance(request, str):
                work.skipped[mark] = request
                continue
            work.sent[mark], work.budget = now, work.budget - 1
            partition = letter.envelope.origin.partition if letter else 0
            confirmations.append(await self._bus.produce(self._bus.topics.at(ARRIVALS), partition, request))
        if confirmations:
            self._got_on, work.changed_at = True, time.monotonic()
            await _confirmed(confirmations, self._bus.topics.at(ARRIVALS))
        return ""

    def _request(self, start: Start, letter: Letter, reread: Rereading) -> bytes | str:
        """Return the request to replay a letter, or the reason why it cannot be replayed."""
        try:
            by = f"{start.by} (job {start.job}{f': {start.reason}' if start.reason else ''})"
            if isinstance(start, StartDiscard):
                request = discard(letter, start.reason, by)
            else:
                replays = Replays.of([letter], start.fields, None, start.to, by, reread)
                rule_tables = self._rule_tables()
                replays.check(rule_tables)
                check_edits(replays, self._services, rule_tables, start.to)
                [request] = replays.requests
            encoded = request.encode()
        except (MetrolineError, ValueError, TypeError) as error:  # a forged letter may hold anything
            return str(error).replace(letter.id, "it")[:MAX_REASON_CHARACTERS]
        if len(encoded) > self._bus.limits.message_bytes:
            return "it is too large with its history: replay it with a smaller record (--record)"
        return encoded


async def _confirmed(confirmations: Sequence[Confirmation], topic: str) -> None:
    _, unconfirmed = await asyncio.wait(confirmations, timeout=CONFIRM_SECONDS)
    if unconfirmed:
        raise NotSent(f"the brokers do not confirm what is written to {topic}")


def _letters_of(parts: Sequence[Members]) -> tuple[Marks, dict[str, int]]:
    """Return the marks of a job's letters, and how many were left out when they were found, by reason."""
    left_out: Counter[str] = Counter()
    for part in parts:
        left_out.update(part.left_out)
    return marks_in(parts), dict(left_out)


def _parts(job: str, epoch: int, marks: Marks, left_out: dict[str, int]) -> list[Members]:
    """Return messages with the letters of a job."""
    portions = portions_of(marks)
    return [
        Members(
            job=job,
            epoch=epoch,
            part=number,
            parts=len(portions),
            blocks=portion,
            left_out=left_out if number == 0 else {},
        )
        for number, portion in enumerate(portions)
    ]


def _due(work: _Work) -> Iterator[Mark]:
    """Yield the letters of a job that were neither sent nor left out, as far as this worker knows."""
    for (block, generation), marks in work.marks.items():
        yield from (mark for one in marks if _is_due(work, mark := Mark(block, generation, one)))


def _candidates(index: DeskIndex, start: Start) -> Iterator[tuple[Reference, Mark] | None]:
    if start.group is not None:
        yield from index.marked(start.group, None)
    else:
        yield from (_marked(index, name) for name in dict.fromkeys(start.ids))


def _marked(index: DeskIndex, name: str) -> tuple[Reference, Mark] | None:
    """Return a dead letter by its id; None if it is not dead now, or if it is no id."""
    try:
        return index.mark(name)
    except UsageError:
        return None


def _found(index: DeskIndex, start: Start, others: dict[str, Marks]) -> tuple[Marks, dict[str, int]]:
    """Return the letters of a new job, and how many are left out, by reason."""
    marks: Marks = {}
    left_out: Counter[str] = Counter()
    for number, found in enumerate(_candidates(index, start)):
        if number % PAUSE_AFTER == 0:
            time.sleep(PAUSE_SECONDS)
        if found is None:
            left_out[NOT_DEAD] += 1
            continue
        key, mark = (found[1].block, found[1].generation), found[1].mark
        taken = next((job for job, theirs in others.items() if mark in theirs.get(key, EMPTY)), None)
        if taken is None:
            marks.setdefault(key, BitMap()).add(mark)
        else:
            left_out[f"in the replay job {taken}"] += 1
    return marks, dict(left_out)


def _next(index: DeskIndex, start: Start, work: _Work, count: int) -> list[tuple[Reference, Mark]]:
    """Return the next letters to send, in the order in which they died."""
    try:
        if start.group is not None:
            return _next_of_group(index, start.group, work, count)
    except LookupError:  # the index was made anew meanwhile, without the last one
        work.cursor = None
        return []
    found = [one for name in dict.fromkeys(start.ids) if (one := _marked(index, name)) and _is_due(work, one[1])]
    found.sort(key=lambda one: (one[0].settled, one[0].place))
    return found[:count]


def _next_of_group(index: DeskIndex, group: str, work: _Work, count: int) -> list[tuple[Reference, Mark]]:
    found: list[tuple[Reference, Mark]] = []
    size = 0
    for number, (reference, mark) in enumerate(index.marked(group, work.cursor)):
        if number % PAUSE_AFTER == 0:
            time.sleep(PAUSE_SECONDS)
        if _is_due(work, mark):
            size += reference.size
            if found and size > MAX_PAGE_BYTES:
                return found
            found.append((reference, mark))
        work.cursor = reference.id
        if len(found) == count:
            return found
    work.cursor = None  # from the beginning: others may have been noted as dead only now
    return found


def _is_due(work: _Work, mark: Mark) -> bool:
    """Return whether a letter belongs to the job, and was neither sent nor left out."""
    is_known = mark in work.sent or mark in work.skipped
    return not is_known and mark.mark in work.marks.get((mark.block, mark.generation), EMPTY)


def _told(tally: Tally) -> str:
    return (
        f"{tally.replayed} of {tally.total} replayed, {tally.ended} delivered or dropped, "
        f"{tally.dead_again} dead again, {tally.under_way} under way, {tally.left_out} left out"
    )
