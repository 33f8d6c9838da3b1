"""The journal of a line: who did what, and what changed, on one axis of time.

Publications stand on the topic of the rules; orders to replay jobs, and replays and discards without a job, on the
topic of jobs. What is recorded nowhere else is noted on a topic of its own, by the operation that does it, and workers
note on another one that they start and stop. The journal puts all of it together. Workers that start and stop have
bounds of their own everywhere: one that does so all day pushes out nothing that people did.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar
from urllib.parse import quote, urlencode

from confluent_kafka import Message
from msgspec import Struct

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.publication import Publication
from metroline.app.markup.numbers import count as number
from metroline.app.operations.journal_notes import Deed, NotANote, Note
from metroline.app.operations.letter_journal import only_letter
from metroline.routing.journeys.replay_job_board import Jobs, TakenEntry
from metroline.routing.journeys.replay_job_messages import Act, Done, JobState, Wish
from metroline.routing.journeys.replay_jobs import Job

MAX_NOTES = 2_000
"""Number of notes of either kind that are remembered, the newest ones: on workers, and on all else."""

MAX_ENTRIES = 1_000
"""Number of entries that are listed, the newest ones, besides those of workers that start and stop."""

MAX_WORKER_ENTRIES = 500
"""Number of entries of workers that start and stop, and of other code that they run, that are listed."""

MAX_VERSIONS = 200
"""Number of versions of the rules whose publications are listed."""

READ_SECONDS = 3.0
"""Time for which a page waits until the topics are read. It shows what is known by then."""

READ_AGAIN_SECONDS = 10.0
"""Time after which the topics are read on for pages that are kept up to date."""

log = logging.getLogger(__name__)

DONE = {Wish.PAUSE: "paused", Wish.RESUME: "resumed", Wish.CANCEL: "cancelled"}

ACTS = {Act.REPLAY: "replayed", Act.DISCARD: "discarded"}

DEPLOYED = "deployed"

OF_WORKERS = (Deed.JOINED, Deed.LEFT, DEPLOYED)
"""The kinds of entries of workers that start and stop, which a worker that crashes may do thousands of times a day."""

Part = TypeVar("Part", Done, TakenEntry)


class JournalEntry(Struct, frozen=True):
    """Something that somebody did, or that changed."""

    at: float
    """Seconds since the epoch."""
    kind: str
    """`published`, `job`, `replayed`, `discarded`, `comparison`, `handed over`, `joined`, `left`, or `deployed`: other
    code runs."""
    text: str
    by: str = ""
    """The name of the person or program; empty if it is not known, or a worker did it."""
    reason: str = ""
    href: str = ""
    """The address of the page about it; empty if there is none."""

    @property
    def sentence(self) -> str:
        """The entry in one sentence, with who and why."""
        by = f" by {self.by}" if self.by else ""
        return f"{self.text}{by}{f': {self.reason}' if self.reason else ''}"


class Notes:
    """The newest notes of a topic. Those on workers do not push out the others."""

    def __init__(self) -> None:
        self.workers: deque[Note] = deque(maxlen=MAX_NOTES)
        self.others: deque[Note] = deque(maxlen=MAX_NOTES)

    def add(self, note: Note) -> None:
        """Take in a note. Earlier versions wrote those on workers to the topic of the others."""
        (self.workers if note.deed in (Deed.JOINED, Deed.LEFT) else self.others).append(note)


class Journal:
    """The journal, as this worker has read it. A thread of its own reads the notes."""

    def __init__(
        self,
        cluster: Cluster,
        topics: Topics,
        jobs: Callable[[], Awaitable[Jobs]],
        version: Callable[[], int],
        publications: Callable[[int], Mapping[int, Publication]],
        foreign: ForeignMessages | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`jobs` reads the replay jobs, `version` returns the latest version of the rules, and `publications` up to
        some number of the newest ones. `foreign` counts the messages that nobody of the line wrote.
        """
        self._tails = tuple(TopicTail(cluster, topic) for topic in (topics.journal, topics.worker_journal))
        self._read_jobs = jobs
        self._version = version
        self._publications = publications
        self._foreign = foreign
        self._clock = clock
        self._notes: dict[str, Notes] = {tail.topic: Notes() for tail in self._tails}
        self._fresh: deque[tuple[str, list[Message]]] = deque()
        """Messages that were read and not taken in: the topic is not read again for them, even if reading on fails."""
        self._jobs = Jobs()
        self._published: tuple[int, list[JournalEntry]] = (0, [])
        """The entries of the rules, and the latest version among them."""
        self._changes = 0
        """Number of times that notes were taken in."""
        self._entries: list[JournalEntry] = []
        self._state = (0, 0, 0)
        """The version of the rules, the changes and the end of the jobs of which these entries tell."""
        self._thread = ThreadPoolExecutor(1, "journal")
        self._read_at = float("-inf")
        self._reading: asyncio.Task[list[str]] | None = None

    async def read(self) -> list[str]:
        """Read on, for a few seconds at most. Return the reasons why something could not be read.

        All who ask meanwhile wait for the same answer of the brokers.
        """
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await asyncio.shield(self._begin())
        except TimeoutError:
            return ["the brokers take long to answer, so that the latest entries may be missing"]

    def entries(self) -> list[JournalEntry]:
        """Return all that was read so far, newest first. It is put together when something has changed."""
        version = self._version()
        if version != self._published[0]:
            self._published = version, list(published(self._publications(MAX_VERSIONS)))
        state = version, self._changes, self._jobs.end
        if state != self._state:
            self._state = state
            notes = [note for one in self._notes.values() for note in (*one.workers, *one.others)]
            self._entries = entries_of(notes, self._jobs, self._published[1])
        return self._entries

    def keep_reading(self) -> asyncio.Task[list[str]] | None:
        """Read on in the background, unless that was done a moment ago. Return the latest such task, if any."""
        if self._clock() - self._read_at >= READ_AGAIN_SECONDS:
            self._begin()
        return self._reading

    async def close(self) -> None:
        """End what is being read."""
        for tail in self._tails:
            tail.is_stopped = True
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> asyncio.Task[list[str]]:
        """Return the task that reads on: the one that does so already, or a new one."""
        if self._reading is None or self._reading.done():
            self._read_at = self._clock()
            self._reading = asyncio.create_task(self._read_all())
        return self._reading

    async def _read_all(self) -> list[str]:
        problems = []
        for read in (self._read_notes, self._read_orders):
            try:
                await read()
            except ClusterError as error:
                problems.append(str(error))
            except Exception as error:  # whatever it is, pages show what is known
                log.exception("the journal could not be read")
                problems.append(f"{type(error).__name__}: {error}")
        return problems

    async def _read_orders(self) -> None:
        self._jobs = await self._read_jobs()

    async def _read_notes(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._read_on)
        finally:
            while self._fresh:
                self._take_in(*self._fresh.popleft())

    def _read_on(self) -> None:
        """Read the messages that were written since. Runs in the thread."""
        for tail in self._tails:
            for messages in tail.read():
                self._fresh.append((tail.topic, messages))

    def _take_in(self, topic: str, messages: Sequence[Message]) -> None:
        """Take in messages; none at all mean that the topic was created again."""
        self._changes += 1
        if not messages:
            self._notes[topic] = Notes()
        for message in messages:
            try:
                self._notes[topic].add(Note.decode(message.value()))
            except NotANote as error:
                if self._foreign is not None:
                    self._foreign.leave_out(topic, 0, message.offset() or 0, error)


def entries_of(notes: Iterable[Note], jobs: Jobs, others: Iterable[JournalEntry] = ()) -> list[JournalEntry]:
    """Return all that notes and the topic of jobs tell, with other entries, newest first."""
    workers, found = list[JournalEntry](), [*others, *_of_letters(jobs.done.values())]
    for entry in _of_notes(notes):
        (workers if entry.kind in OF_WORKERS else found).append(entry)
    for job in jobs.by_id.values():
        found += _of_job(job)
    for topic, taken in jobs.taken.items():
        found += _of_foreign_letters(topic, taken.entries.values())
    return _newest(_newest(found)[:MAX_ENTRIES] + _newest(workers)[:MAX_WORKER_ENTRIES])


def _newest(entries: Iterable[JournalEntry]) -> list[JournalEntry]:
    """Return entries, newest first."""
    return sorted(entries, key=lambda entry: -entry.at)


def published(publications: Mapping[int, Publication]) -> Iterator[JournalEntry]:
    """Yield the entries of versions of the rules."""
    first_with: dict[str, int] = {}
    for version, one in sorted(publications.items()):
        first = first_with.setdefault(one.text, version)
        again = f", which is the table of version {first} again," if first != version else ""
        text = f"version {version} of the rules{again} was published"
        yield JournalEntry(one.at, "published", text, one.by, one.reason, f"/rules/{version}/")


def _of_job(job: Job) -> Iterator[JournalEntry]:
    start, progress = job.start, job.progress
    href = f"/dead-letters/jobs/?{urlencode({'job': job.id})}"
    letters = f"the group {start.group}" if start.group else _letters(len(start.ids))
    name = f"the {'discard' if job.act is Act.DISCARD else 'replay'} job {job.id}"
    text = f"{name} of {letters} was started"
    yield JournalEntry(start.at, "job", text, start.by, start.reason, href)
    for _, ask in job.asks:
        text = f"{name} was {DONE[ask.wish]}"
        yield JournalEntry(ask.at, "job", text, ask.by, ask.reason, href)
    if progress is not None and progress.state in (JobState.DONE, JobState.STOPPED):
        done = f"{number(progress.tally.replayed)} of {number(progress.tally.total)} {ACTS[job.act]}"
        how = "is done" if progress.state is JobState.DONE else "stopped by itself"
        yield JournalEntry(progress.at, "job", f"{name} {how}, {done}", "", progress.note, href)


def _of_letters(done: Iterable[Done]) -> Iterator[JournalEntry]:
    """Yield an entry for each replay or discard without a job, which may have several in the journal of letters."""
    for parts in _together(done):
        first, total = parts[0], sum(part.count for part in parts)
        kind, name = ACTS[first.act], only_letter(first) if len(parts) == 1 else ""
        if name:
            href = f"/journeys/?{urlencode({'id': name})}"
            yield JournalEntry(first.at, kind, f"the dead letter {name} was {kind}", first.by, first.reason, href)
        else:
            yield JournalEntry(first.at, kind, f"{_letters(total)} {_were(total)} {kind}", first.by, first.reason)


def _of_foreign_letters(topic: str, entries: Iterable[TakenEntry]) -> Iterator[JournalEntry]:
    """Yield an entry for each replay or discard of letters of another system without a job."""
    href = f"/dead-letters/foreign/?{urlencode({'topic': topic})}"
    for parts in _together(entry for entry in entries if entry.job is None):
        first, total = parts[0], sum(part.size for part in parts)
        kind = ACTS[Act.REPLAY if first.reason is None else Act.DISCARD]
        text = f"{_letters(total)} on {topic} {_were(total)} {kind}"
        yield JournalEntry(first.at, kind, text, first.by, first.reason or "", href)


def _together(parts: Iterable[Part]) -> Iterable[list[Part]]:
    """Return the parts of each replay or discard."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.order, []).append(part)
    return found.values()


def _of_notes(notes: Iterable[Note]) -> Iterator[JournalEntry]:
    code = ""
    for note in notes:
        if note.deed is Deed.JOINED and note.code:
            if code and note.code != code:
                text = f"other code of the line runs: {note.code} at {note.worker}, and {code} before"
                yield JournalEntry(note.at, DEPLOYED, text)
            code = note.code
        yield _entry(note)


def _entry(note: Note) -> JournalEntry:
    if note.deed in (Deed.JOINED, Deed.LEFT):
        what = "started" if note.deed is Deed.JOINED else "stopped"
        return JournalEntry(note.at, note.deed, f"{note.worker} {what} ({note.roles})")
    if note.deed is Deed.HANDED_OVER:
        return JournalEntry(note.at, note.deed, f"the line was handed over to {note.roles}", note.by, note.reason)
    done = "started" if note.deed is Deed.COMPARED else "cancelled"
    text = f"the comparison {note.run} was {done}"
    return JournalEntry(note.at, "comparison", text, note.by, note.reason, f"/compare/{quote(note.run)}/")


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _letters(count: int) -> str:
    return f"{number(count)} dead letter{'' if count == 1 else 's'}"
