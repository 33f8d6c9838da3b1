"""The journal puts together who did what, and what changed, from the places where it is recorded."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from msgspec.structs import replace

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.publication import Publication
from metroline.app.operations.dead_letters import send_requests
from metroline.app.operations.journal import Journal, entries_of, published
from metroline.app.operations.journal_notes import MAX_NAME, MAX_TEXT, Deed, NotANote, Note, note_deed, note_of
from metroline.app.operations.permission import NotPermitted, Permission
from metroline.routing.journeys.replay import discard_request, replay_request
from metroline.routing.journeys.replay_jobs import Ask, Jobs, JobState, Message, Progress, Start, Tally, Wish, encode
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
    return [entry.sentence for entry in entries_of(notes, [])]


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
    found = entries_of([], [], published(publications))
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
    found = entries_of([], jobs_of(start, pause, end).by_id.values())
    assert [entry.sentence for entry in found] == [
        "the replay job 0123456789 is done, 1,100 of 1,200 replayed",
        "the replay job 0123456789 was paused by bert: too hot",
        "the replay job 0123456789 of the group 4be3b2 was started by ada: it is mended",
    ]
    assert {entry.href for entry in found} == {"/dead-letters/jobs/?job=0123456789"}


def test_notes_of_one_request_are_one_entry() -> None:
    notes = [note(Deed.DISCARDED, 10.0 + n, by="ada", count=500, reason="a test") for n in range(3)]
    other = note(Deed.DISCARDED, 13.0, by="bert", count=1, reason="a test", letter="source-0-7")
    later = note(Deed.DISCARDED, 200.0, by="bert", count=2, reason="a test")
    assert sentences(*notes, other, later) == [
        "2 dead letters were discarded by bert: a test",
        "the dead letter source-0-7 was discarded by bert: a test",
        "1,500 dead letters were discarded by ada: a test",
    ]


def test_replays_of_other_systems_name_their_topic() -> None:
    told = sentences(note(Deed.REPLAYED, 1.0, by="ada", count=1, topic="connect.dlq"))
    assert told == ["1 dead letter on connect.dlq was replayed by ada"]


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
    made = note_of(Deed.DISCARDED, "\ud800" * 900, 3, reason="x" * 9_000)
    assert Note.decode(made.encode()) == made
    assert (len(made.by), len(made.reason)) == (MAX_NAME, MAX_TEXT)


@pytest.mark.parametrize("value", [None, b"", b"[]", b'{"deed":"burnt","at":1}', b'{"deed":"left","at":-1}', b"\xff"])
def test_what_is_no_note_is_left_out(value: bytes | None) -> None:
    with pytest.raises(NotANote):
        Note.decode(value)


class Board:
    """A cluster that keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bytes]] = []
        self.refused: set[str] = set()

    @asynccontextmanager
    async def producer(self, **_: Any) -> AsyncIterator[Board]:
        yield self

    async def send_and_wait(self, topic: str, value: bytes, **_: Any) -> None:
        if topic in self.refused:
            raise ClusterError("it is full")
        self.written.append((topic, value))

    @property
    def notes(self) -> list[Note]:
        return [Note.decode(value) for topic, value in self.written if topic == TOPICS.journal]


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


@pytest.mark.parametrize(
    ("ask", "deed", "reason"),
    [
        (lambda number: replay_request(letter(number), REPLAY, None, b"{}"), Deed.REPLAYED, ""),
        (lambda number: discard_request(letter(number), REPLAY, "a test"), Deed.DISCARDED, "a test"),
    ],
)
async def test_what_is_sent_to_the_arrivals_is_noted_once_with_who(
    board: Board, ask: Asks, deed: Deed, reason: str
) -> None:
    requests = [ask(number) for number in range(3)]
    assert [n async for n in send_requests(cast(Cluster, board), TOPICS, requests, 1e6, ADA)] == [1, 2, 3]
    assert [(n.deed, n.by, n.count, n.letter, n.reason) for n in board.notes] == [(deed, "ada", 3, "", reason)]
    assert [n async for n in send_requests(cast(Cluster, board), TOPICS, requests[2:], 1e6, ADA)] == [1]
    assert (board.notes[1].letter, board.notes[1].count) == ("source-0-2", 1)


async def test_what_was_sent_before_an_error_is_noted(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [discard_request(letter(number), REPLAY, "a test") for number in range(3)]

    async def send(topic: str, value: bytes, **_: Any) -> None:
        if topic != TOPICS.journal and len(board.written) == 2:
            raise ClusterError("the brokers are away")
        board.written.append((topic, value))

    monkeypatch.setattr(board, "send_and_wait", send)
    with pytest.raises(ClusterError):
        async for _ in send_requests(cast(Cluster, board), TOPICS, requests, 1e6, ADA):
            pass
    assert [n.count for n in board.notes] == [2]


async def test_nothing_is_noted_without_a_permission(board: Board) -> None:
    nobody = Permission.refused(NotPermitted("nobody is logged in"))
    with pytest.raises(NotPermitted):
        await note_deed(cast(Cluster, board), TOPICS, nobody, Deed.DISCARDED, 1)
    assert board.written == []


async def test_what_is_done_stays_done_if_the_journal_cannot_be_written(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    board.refused.add(TOPICS.journal)
    requests = [discard_request(letter(1), REPLAY, "a test")]
    assert [n async for n in send_requests(cast(Cluster, board), TOPICS, requests, 1e6, ADA)] == [1]
    assert (
        "it is done, but orders.journal cannot be written to, so that the journal lacks it: it is full" in caplog.text
    )


async def test_a_line_of_an_earlier_version_has_no_journal(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_: Any) -> dict[str, int]:
        return {}

    monkeypatch.setattr(TopicAdmin, "partitions", none)
    await note_deed(cast(Cluster, board), TOPICS, ADA, Deed.DISCARDED, 1)
    assert board.written == []


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
    first = note(Deed.DISCARDED, 1.0, by="ada", count=1)
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


async def test_pages_that_are_kept_up_to_date_read_on_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now, reads = [100.0], []

    def read(_: TopicTail) -> Iterator[list[TopicMessage]]:
        reads.append(now[0])
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
    assert reads == [100.0, 110.0, 120.0]
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
