"""The journal puts together who did what, and what changed, from the places where it is recorded."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from msgspec.structs import replace
from pyroaring import BitMap

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.publication import Publication
from metroline.app.operations.dead_letters import send_requests
from metroline.app.operations.journal import MAX_NOTES, MAX_WORKER_ENTRIES, Journal, entries_of, published
from metroline.app.operations.journal_notes import MAX_NAME, MAX_TEXT, Deed, NotANote, Note, note_deed, note_of
from metroline.app.operations.letter import DeadLetterError
from metroline.app.operations.letter_journal import letter_journal
from metroline.app.operations.permission import NotPermitted, Permission
from metroline.routing.addresses import ARRIVALS
from metroline.routing.journeys.replay import discard_request, replay_request
from metroline.routing.journeys.replay_job_board import Jobs
from metroline.routing.journeys.replay_job_messages import (
    Act,
    Ask,
    Done,
    JobState,
    Message,
    Progress,
    Start,
    StartDiscard,
    Taken,
    Tally,
    Wish,
    encode,
    encoded_offsets,
)
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Replay, Segment
from metroline.routing.outcome import Cause, Outcome
from tests.support.dead_letter_topic import TopicMessage

TOPICS = Topics("orders", "orders.source", {})
ADA = Permission.granted("ada")


def note(deed: Deed, at: float, **fields: Any) -> Note:
    return Note(deed=deed, at=at, **fields)


def sentences(*notes: Note) -> list[str]:
    return [entry.sentence for entry in entries_of(notes, Jobs())]


def jobs_of(*written: Message) -> Jobs:
    jobs = Jobs()
    for offset, message in enumerate(written):
        assert jobs.add(offset, *encode(message)) is None
    return jobs


def test_publications_tell_who_and_why_and_which_table_came_back() -> None:
    publications = {
        version: Publication(text, version - 1, "ada", float(version), reason)
        for version, text, reason in ((1, "a", ""), (2, "b", "a try"), (3, "a", "it went wrong"))
    }
    found = entries_of([], Jobs(), published(publications))
    assert [entry.sentence for entry in found] == [
        "version 3 of the rules, which is the table of version 1 again, was published by ada: it went wrong",
        "version 2 of the rules was published by ada: a try",
        "version 1 of the rules was published by ada",
    ]
    assert [(entry.kind, entry.href) for entry in found] == [("published", f"/rules/{n}/") for n in (3, 2, 1)]


def test_jobs_tell_their_start_each_order_and_their_end() -> None:
    start = Start(job="0123456789", at=5.0, by="ada", group="4be3b2", reason="it is mended")
    pause = Ask(order=uuid.uuid4().hex, job=start.job, wish=Wish.PAUSE, at=6.0, by="bert", reason="too hot")
    end = Progress(job=start.job, epoch=0, seen=2, at=9.0, state=JobState.DONE, tally=Tally(1_200, 1_100))
    found = entries_of([], jobs_of(start, pause, end))
    assert [entry.sentence for entry in found] == [
        "the replay job 0123456789 is done, 1,100 of 1,200 replayed",
        "the replay job 0123456789 was paused by bert: too hot",
        "the replay job 0123456789 of the group 4be3b2 was started by ada: it is mended",
    ]
    assert {entry.href for entry in found} == {"/dead-letters/jobs/?job=0123456789"}


def test_a_job_that_discards_is_named_so() -> None:
    start = StartDiscard(job="0123456789", at=5.0, by="ada", ids=("source-0-1",), reason="a test")
    end = Progress(job=start.job, epoch=0, seen=1, at=9.0, state=JobState.DONE, tally=Tally(1, 1))
    found = entries_of([], jobs_of(start, end))
    assert [entry.sentence for entry in found] == [
        "the discard job 0123456789 is done, 1 of 1 discarded",
        "the discard job 0123456789 of 1 dead letter was started by ada: a test",
    ]


def done(order: str, part: int, count: int, **fields: Any) -> Done:
    blocks = (("0/source/0", 0, base64.b64encode(BitMap(range(7, 7 + count)).serialize()).decode()),)
    given: dict[str, Any] = {"act": Act.DISCARD, "at": 10.0 + part, "by": "ada", "reason": "a test"} | fields
    return Done(order=order * 32, part=part, count=count, blocks=blocks, **given)


def test_a_replay_or_discard_is_one_entry_in_however_many_parts_it_was_noted() -> None:
    parts = [done("a", part, 500) for part in range(3)]
    found = entries_of([], jobs_of(*parts, done("b", 0, 1, act=Act.REPLAY, reason="", at=40.0)))
    assert [entry.sentence for entry in found] == [
        "the dead letter source-0-7 was replayed by ada",
        "1,500 dead letters were discarded by ada: a test",
    ]
    assert [(entry.kind, entry.href) for entry in found] == [
        ("replayed", "/journeys/?id=source-0-7"),
        ("discarded", ""),
    ]


@pytest.mark.parametrize("block", ["", "source", "0/source", "x/source/0", "0/source/x"])
def test_a_forged_entry_about_a_letter_that_cannot_be_is_shown_without_it(block: str) -> None:
    whole = done("a", 0, 1)
    [(_, generation, marks)] = whole.blocks
    [entry] = entries_of([], jobs_of(replace(whole, blocks=((block, generation, marks),))))
    assert entry.text == "1 dead letter was discarded"


def test_letters_of_other_systems_name_their_topic_and_those_of_jobs_are_told_by_these() -> None:
    def taken(order: str, part: int, reason: str | None = None, job: str | None = None) -> Taken:
        places = {"0": encoded_offsets([part])}
        return Taken(order=order * 32, part=part, topic="dlq", at=1.0, by="ada", places=places, reason=reason, job=job)

    notes = [taken("a", 0), taken("a", 1), taken("b", 2, "a test"), taken("c", 3, job="0123456789")]
    found = entries_of([], jobs_of(*notes))
    assert [entry.sentence for entry in found] == [
        "2 dead letters on dlq were replayed by ada",
        "1 dead letter on dlq was discarded by ada: a test",
    ]
    assert {entry.href for entry in found} == {"/dead-letters/foreign/?topic=dlq"}


def test_comparisons_that_are_started_and_cancelled_have_a_link_to_them() -> None:
    notes = [note(deed, 1.0, by="ada", run="0123456789") for deed in (Deed.COMPARED, Deed.CANCELLED)]
    found = entries_of(notes, Jobs())
    assert [(entry.kind, entry.sentence, entry.href) for entry in found] == [
        ("comparison", "the comparison 0123456789 was started by ada", "/compare/0123456789/"),
        ("comparison", "the comparison 0123456789 was cancelled by ada", "/compare/0123456789/"),
    ]


def test_workers_come_and_go_and_other_code_is_named() -> None:
    one, other = "http://one:6066", "http://other:6066"
    told = sentences(
        note(Deed.JOINED, 1.0, worker=one, roles="all", code="c0de"),
        note(Deed.JOINED, 2.0, worker=other, roles="all", code="c0de"),
        note(Deed.LEFT, 3.0, worker=one, roles="all", code="c0de"),
        note(Deed.JOINED, 4.0, worker=one, roles="all", code="beef"),
        note(Deed.HANDED_OVER, 5.0, by="ada", roles="on-ramp,router; arrivals"),
    )
    assert told == [
        "the line was handed over to on-ramp,router; arrivals by ada",
        f"other code of the line runs: beef at {one}, and c0de before",
        f"{one} started (all)",
        f"{one} stopped (all)",
        f"{other} started (all)",
        f"{one} started (all)",
    ]


def test_a_note_survives_its_message_and_is_bounded() -> None:
    made = note_of(Deed.HANDED_OVER, "\ud800" * 900, reason="x" * 9_000)
    assert Note.decode(made.encode()) == made
    assert (len(made.by), len(made.reason)) == (MAX_NAME, MAX_TEXT)


@pytest.mark.parametrize("value", [None, b"", b"[]", b'{"deed":"burnt","at":1}', b'{"deed":"left","at":-1}', b"\xff"])
def test_what_is_no_note_is_left_out(value: bytes | None) -> None:
    with pytest.raises(NotANote):
        Note.decode(value)


class Board:
    """A cluster that keeps what is written to it."""

    def __init__(self) -> None:
        self.log: list[tuple[str, bytes | None, bytes | None]] = []
        """The topic, the key and the value of each message."""
        self.refused: set[str] = set()
        """Topics that take no messages."""
        self.room = 1_000
        """Number of requests that the topic of the arrivals takes."""
        self.unanswered: list[asyncio.Future[Any]] = []
        """The confirmations of requests that are written, and confirmed when the producer is closed."""
        self.is_slow = False

    @asynccontextmanager
    async def producer(self, **_: Any) -> AsyncIterator[Board]:
        try:
            yield self
        finally:
            while self.unanswered:
                self.unanswered.pop().set_result(None)

    async def send(self, topic: str, value: bytes, **_: Any) -> asyncio.Future[Any]:
        confirmation: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if len(self.requests) == self.room:
            confirmation.set_exception(ClusterError("the brokers are away"))
            return confirmation
        self.log.append((topic, None, value))
        if self.is_slow:
            self.unanswered.append(confirmation)
        else:
            confirmation.set_result(None)
        return confirmation

    async def send_and_wait(self, topic: str, value: bytes | None, key: bytes | None = None, **_: Any) -> None:
        if topic in self.refused:
            raise ClusterError("it is full")
        self.log.append((topic, key, value))

    @property
    def requests(self) -> list[bytes | None]:
        return [value for topic, _, value in self.log if topic == TOPICS.at(ARRIVALS)]

    @property
    def jobs(self) -> Jobs:
        """Return the topic of jobs as it is now."""
        jobs = Jobs()
        for offset, (topic, key, value) in enumerate(self.log):
            assert topic != TOPICS.replay_jobs or jobs.add(offset, key, value) is None
        return jobs

    def told(self) -> list[str]:
        """Return the entries of the journal."""
        return [entry.sentence for entry in entries_of([], self.jobs)]

    def replayed(self) -> set[str]:
        """Return the letters that the journal names as replayed or discarded."""
        return {name for name in map("source-0-{}".format, range(100)) if letter_journal(self.jobs, name)}


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    async def partitions(_: TopicAdmin, names: list[str]) -> dict[str, int]:
        return dict.fromkeys(names, 1)

    monkeypatch.setattr(TopicAdmin, "partitions", partitions)
    return Board()


def letter(number: int) -> Envelope:
    dead = Segment((number,), (b"{}",), 1.0, outcome=Outcome.dead(Cause.TIMEOUT, "late"), hops=1)
    return Envelope("signpost", Origin("source", 0), (dead,))


REPLAY = Replay(1.0, "ada", "timeout: late")
Asks = Callable[[int], Envelope]


def discards(count: int) -> list[Envelope]:
    return [discard_request(letter(number), REPLAY, "a test") for number in range(count)]


async def portions(*requests: Sequence[Envelope]) -> AsyncIterator[Sequence[Envelope]]:
    for some in requests:
        yield some


async def send(board: Board, *requests: Sequence[Envelope], rate: float = 1e6) -> list[int]:
    sending = send_requests(cast(Cluster, board), TOPICS, portions(*requests), rate, ADA)
    return [number async for number in sending]


def named(count: int) -> set[str]:
    return {f"source-0-{number}" for number in range(count)}


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda number: replay_request(letter(number), REPLAY, None, b"{}"), "replayed by ada"),
        (lambda number: discard_request(letter(number), REPLAY, "a test"), "discarded by ada: a test"),
    ],
)
async def test_what_is_sent_to_the_arrivals_is_one_entry_with_who(board: Board, ask: Asks, told: str) -> None:
    assert await send(board, [ask(number) for number in range(3)], [ask(3)]) == [1, 2, 3, 4]
    assert board.told() == [f"4 dead letters were {told}"]
    assert board.replayed() == named(4)


@pytest.mark.parametrize("room", [0, 1, 2, 3, 5, 7])
async def test_a_replay_that_breaks_off_is_noted_as_far_as_it_went_and_repeated_without_a_trace(
    board: Board, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metroline.app.operations.dead_letters.MAX_NOTED", 3)
    requests, board.room = discards(8), room
    with pytest.raises(ClusterError, match="the brokers are away"):
        await send(board, requests)
    assert board.replayed() == named(room)
    were = "was" if room == 1 else "were"
    several = f"{room} dead letter{'' if room == 1 else 's'} {were} discarded by ada: a test"
    one = "the dead letter source-0-0 was discarded by ada: a test"
    assert board.told() == ([one] if room == 1 else [several] if room else [])
    board.room = 1_000
    await send(board, requests[room:])
    journal = [entry for number in range(8) for entry in letter_journal(board.jobs, f"source-0-{number}")]
    assert len(journal) == 8, "each letter has one entry"


async def test_whoever_stops_a_replay_learns_what_was_written(board: Board) -> None:
    board.is_slow = True
    sending = asyncio.create_task(send(board, discards(3)))
    while not board.unanswered:
        await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert len(board.requests) == 1
    assert board.replayed() == named(1), "its confirmation came while the producer was closed"


async def test_a_replay_whose_reader_goes_away_is_noted_as_far_as_it_went(board: Board) -> None:
    sending = send_requests(cast(Cluster, board), TOPICS, portions(discards(5)), 1e6, ADA)
    assert [await anext(sending), await anext(sending)] == [1, 2]
    await cast(AsyncGenerator[int], sending).aclose()
    assert board.replayed() == named(len(board.requests)) == named(2)


async def test_letters_that_cannot_be_found_leave_those_before_them_noted(board: Board) -> None:
    async def requests() -> AsyncIterator[list[Envelope]]:
        yield discards(2)
        raise DeadLetterError("the next page cannot be read")

    with pytest.raises(DeadLetterError):
        async for _ in send_requests(cast(Cluster, board), TOPICS, requests(), 1e6, ADA):
            pass
    assert board.replayed() == named(2)


async def test_a_slow_replay_notes_few_letters_ahead(board: Board) -> None:
    sending = send_requests(cast(Cluster, board), TOPICS, portions(discards(50)), 0.4, ADA)
    await anext(sending)
    assert board.replayed() == named(2), "the letters of the next five seconds"
    await cast(AsyncGenerator[int], sending).aclose()
    assert board.replayed() == named(1)


async def test_nothing_is_sent_if_it_cannot_be_noted(board: Board) -> None:
    board.refused.add(TOPICS.replay_jobs)
    with pytest.raises(ClusterError, match="it is full"):
        await send(board, discards(2))
    assert board.requests == []


async def test_a_journal_that_cannot_be_corrected_is_a_warning(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    sending = send_requests(cast(Cluster, board), TOPICS, portions(discards(5)), 1e6, ADA)
    await anext(sending)
    board.refused.add(TOPICS.replay_jobs)
    await cast(AsyncGenerator[int], sending).aclose()
    assert "the journal has 4 dead letters as replayed or discarded that were not" in caplog.text
    assert "it is full" in caplog.text


async def test_nothing_is_noted_without_a_permission(board: Board) -> None:
    nobody = Permission.refused(NotPermitted("nobody is logged in"))
    with pytest.raises(NotPermitted):
        await note_deed(cast(Cluster, board), TOPICS, nobody, Deed.HANDED_OVER)
    assert board.log == []


async def test_what_is_done_stays_done_if_the_journal_cannot_be_written(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    board.refused.add(TOPICS.journal)
    await note_deed(cast(Cluster, board), TOPICS, ADA, Deed.HANDED_OVER, roles="all")
    assert (
        "it is done, but orders.journal cannot be written to, so that the journal lacks it: it is full" in caplog.text
    )


async def test_a_line_of_an_earlier_version_has_no_journal(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_: Any) -> dict[str, int]:
        return {}

    monkeypatch.setattr(TopicAdmin, "partitions", none)
    await note_deed(cast(Cluster, board), TOPICS, ADA, Deed.HANDED_OVER)
    assert board.log == []


async def test_the_journal_reads_on_and_says_what_it_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[list[TopicMessage]] = []
    is_away = False

    def read(_: TopicTail) -> Iterator[list[TopicMessage]]:
        while messages:
            yield messages.pop(0)
        if is_away:
            raise ClusterError("the brokers are away")

    def message(value: bytes) -> TopicMessage:
        return TopicMessage((0, 0), None, value)

    async def jobs() -> Jobs:
        return Jobs()

    monkeypatch.setattr(TopicTail, "read", read)
    foreign = ForeignMessages()
    journal = Journal(Cluster("127.0.0.1:1"), TOPICS, jobs, lambda: 0, lambda _: {}, foreign)
    first = note(Deed.HANDED_OVER, 1.0, by="ada")
    messages.append([message(first.encode()), message(b"garbage")])
    assert await journal.read() == []
    assert [entry.by for entry in journal.entries()] == ["ada"]
    assert foreign.counts[TOPICS.journal] == 1
    is_away = True
    messages.append([message(replace(first, by="bert", at=2.0).encode())])
    assert await journal.read() == ["the brokers are away"]
    assert [entry.by for entry in journal.entries()] == ["bert", "ada"], "what was read before an error counts"
    is_away = False
    messages.extend([[], [message(replace(first, by="eve").encode())]])
    assert await journal.read() == []
    assert [entry.by for entry in journal.entries()] == ["eve"], "the topic was created again"
    await journal.close()


@pytest.mark.parametrize("of_workers", [TOPICS.journal, TOPICS.worker_journal])
async def test_a_worker_that_starts_all_day_pushes_out_nothing_that_people_did(
    monkeypatch: pytest.MonkeyPatch, of_workers: str
) -> None:
    deed = note(Deed.HANDED_OVER, 1.0, by="ada", roles="all")
    starts = [note(Deed.JOINED, 2.0 + at, worker="http://one:6066", roles="all") for at in range(2 * MAX_NOTES)]
    written = {TOPICS.journal: [deed], TOPICS.worker_journal: list[Note]()}
    written[of_workers] += starts

    def read(tail: TopicTail) -> Iterator[list[TopicMessage]]:
        yield [TopicMessage((0, offset), None, one.encode()) for offset, one in enumerate(written[tail.topic])]

    async def jobs() -> Jobs:
        return Jobs()

    monkeypatch.setattr(TopicTail, "read", read)
    journal = Journal(Cluster("127.0.0.1:1"), TOPICS, jobs, lambda: 0, lambda _: {})
    assert await journal.read() == []
    entries = journal.entries()
    assert entries[-1].kind == Deed.HANDED_OVER
    assert [entry.at for entry in entries[:-1]] == [one.at for one in starts[: -MAX_WORKER_ENTRIES - 1 : -1]]
    await journal.close()


async def test_pages_that_are_kept_up_to_date_read_on_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now, reads = [100.0], []

    def read(tail: TopicTail) -> Iterator[list[TopicMessage]]:
        reads.append((now[0], tail.topic))
        yield from ()

    async def jobs() -> Jobs:
        return Jobs()

    monkeypatch.setattr(TopicTail, "read", read)
    journal = Journal(Cluster("127.0.0.1:1"), TOPICS, jobs, lambda: 0, lambda _: {}, clock=lambda: now[0])
    for second in range(30):
        now[0] = 100.0 + second
        reading = journal.keep_reading()
        assert reading is not None
        await reading
    assert reads == [(at, topic) for at in (100.0, 110.0, 120.0) for topic in (TOPICS.journal, TOPICS.worker_journal)]
    await journal.close()


async def test_brokers_that_do_not_answer_keep_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    answered = asyncio.Event()

    async def jobs() -> Jobs:
        reads.append(1)
        await answered.wait()
        return Jobs()

    monkeypatch.setattr(TopicTail, "read", lambda _: iter(()))
    monkeypatch.setattr("metroline.app.operations.journal.READ_SECONDS", 0.01)
    journal = Journal(Cluster("127.0.0.1:1"), TOPICS, jobs, lambda: 0, lambda _: {})
    told = await asyncio.gather(*(journal.read() for _ in range(20)))
    assert {problem for problems in told for problem in problems} == {
        "the brokers take long to answer, so that the latest entries may be missing"
    }
    assert len(reads) == 1, "all of them wait for one answer"
    answered.set()
    await journal.close()


async def test_an_error_of_any_kind_is_a_problem_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_: TopicTail) -> Iterator[list[TopicMessage]]:
        raise RuntimeError("no thread is left")

    async def jobs() -> Jobs:
        return Jobs()

    monkeypatch.setattr(TopicTail, "read", read)
    journal = Journal(Cluster("127.0.0.1:1"), TOPICS, jobs, lambda: 0, lambda _: {})
    assert await journal.read() == ["RuntimeError: no thread is left"]
    await journal.close()


async def test_versions_of_the_rules_are_read_again_only_when_there_is_a_new_one() -> None:
    versions = {1: Publication("a", 0, "ada", 1.0)}
    reads = []

    def publications(most: int) -> dict[int, Publication]:
        reads.append(most)
        return versions

    async def jobs() -> Jobs:
        return Jobs()

    journal = Journal(Cluster("127.0.0.1:1"), TOPICS, jobs, lambda: max(versions), publications)
    assert [len(journal.entries()) for _ in range(60)] == [1] * 60
    assert len(reads) == 1
    versions[2] = Publication("b", 1, "bert", 2.0)
    assert [entry.by for entry in journal.entries()] == ["bert", "ada"]
    assert len(reads) == 2
    await journal.close()
