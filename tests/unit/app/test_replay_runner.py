"""Replay jobs are carried out to their end, each letter once, whenever the worker that does so is killed."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import msgspec
import pytest
from pyroaring import BitMap64

from metroline.agents.kafka.producer import Confirmation, KeyedMessage
from metroline.agents.kafka.topics import Topics
from metroline.app.operations.desk import _Entry
from metroline.app.operations.desk_index import DeskIndex, Reference
from metroline.app.operations.letter import DeadLetterError, Letter
from metroline.app.operations.replay_jobs import new_job
from metroline.app.operations.replay_runner import ReplayRunner
from metroline.app.operations.rereading import Rereading
from metroline.routing.journeys import replay_job_board as board_module
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
    StartForeign,
    Taken,
    Wish,
    encode,
    encoded_offsets,
)
from metroline.routing.journeys.replay_jobs import Job
from metroline.routing.journeys.settlement import SettledBlock, offset_of
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin, RecordId
from metroline.routing.messages.segment import DiscardRequest, Segment
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import RuleTables
from tests.support.forgeries.operations import forged_job

FIRST = b"0/source/0"
DEAD = ("", "dead", "expired")
DELIVERED = ("weigh", "delivered", "")
TABLE = RulesTable.parse('[[rules]]\nafter = "source"\nto = "weigh"\n', 1)
TOPICS = Topics("line", "line.source")

T = TypeVar("T")


class Killed(BaseException):
    """Raised where a worker dies."""


class Line:
    """A line without brokers: a block of outcomes, the dead letters, and the topic of jobs."""

    def __init__(self, letters: int, *, packed: bool = False) -> None:
        self.block = SettledBlock()
        self.index = DeskIndex()
        self.letters: dict[tuple[str, int], Letter] = {}
        self.log: list[tuple[bytes, bytes | None]] = []
        self.under_way: dict[RecordId, int] = {}
        self.reopened: Counter[RecordId] = Counter()
        self.by: set[str] = set()
        self.asked: list[object] = []
        self.records: list[RecordId] = [(7, number, letters) if packed else number for number in range(letters)]
        for record in self.records:
            self.block.settle([record], DEAD, 1)
            self.die(record, 0)

    def die(self, record: RecordId, generation: int) -> None:
        segment = Segment((record,), (b"{}",), 0.0, outcome=Outcome.dead(Cause.EXPIRED), generation=generation)
        letter = Letter(Envelope("signpost", Origin("source", 0), (segment,)), 1.0 + len(self.letters))
        self.index.add((0, len(self.letters)), 2, letter.envelope, letter.settled)
        self.letters[(letter.id, len(self.letters))] = letter

    @property
    def group(self) -> str:
        return next(iter(self.letters.values())).group

    def end(self, *, dead: Callable[[int], bool] = lambda place: False) -> None:
        """Let everything under way have its outcome; `dead` tells which are dead again."""
        for record, generation in self.under_way.items():
            dies = dead(self.records.index(record))
            self.block.settle([record], DEAD if dies else DELIVERED, 1, generation)
            if dies:
                self.die(record, generation)
        self.under_way.clear()

    def write(self, *messages: Message) -> None:
        self.log += map(encode, messages)

    def job(self, name: str) -> Job:
        return self.jobs_now().by_id[name]

    def jobs_now(self) -> Jobs:
        jobs = Jobs()
        for offset, (key, value) in enumerate(self.log):
            jobs.add(offset, key, value)
        return jobs

    def runner(
        self,
        dies_after: int | None = None,
        ownership: Callable[[], int | None] = lambda: 3,
        foreign: Mapping[str, Any] | None = None,
    ) -> ReplayRunner:
        """Return what a worker runs; it dies after that number of messages."""
        return ReplayRunner(
            cast(Any, _Bus(self, dies_after)),
            cast(Any, _Desk(self)),
            cast(Any, SimpleNamespace(jobs=self._jobs)),
            lambda: "http://w:6066",
            ownership,
            lambda: RuleTables(TABLE, TABLE),
            self.read_again,
            foreign,
        )

    async def _jobs(self) -> Jobs:
        return self.jobs_now()

    async def read_again(self, letters: Sequence[Letter]) -> Rereading:
        return Rereading()

    def ask(self, envelope: Envelope) -> None:
        """Carry out a request, as the arrivals do."""
        [segment] = envelope.segments
        self.by.add(segment.replays[-1].by)
        self.asked.append(segment.request)
        if self.block.reopen(segment.ids, DEAD, segment.generation):
            self.reopened[segment.ids[0]] += 1
            self.under_way[segment.ids[0]] = segment.generation + 1


class _Bus:
    def __init__(self, line: Line, dies_after: int | None) -> None:
        self.topics = TOPICS
        self.limits = SimpleNamespace(message_bytes=1_000_000)
        self._line, self._left = line, dies_after

    async def produce(self, topic: str, partition: int, value: bytes, *, key: bytes | None = None) -> Confirmation:
        self._live()
        if topic == TOPICS.replay_jobs:
            assert key is not None
            self._line.log.append((key, value))
        else:
            self._line.ask(Envelope.decode(value, partition))
        return self._confirmed()

    async def produce_all(self, topic: str, messages: Sequence[KeyedMessage]) -> Confirmation:
        self._live()
        assert topic == TOPICS.replay_jobs
        self._line.log += [(key or b"", value) for value, key, *_ in messages]
        return self._confirmed()

    def _live(self) -> None:
        if self._left == 0:
            raise Killed
        self._left = None if self._left is None else self._left - 1

    def _confirmed(self) -> Confirmation:
        confirmation: Confirmation = asyncio.get_running_loop().create_future()
        confirmation.set_result(None)
        return confirmation


class _Desk:
    def __init__(self, line: Line) -> None:
        self._line = line

    async def asked(self, question: Callable[[DeskIndex], T]) -> T:
        entry = msgspec.convert(self._line.block.encode() | {"epoch": 1}, _Entry)
        self._line.index.settle({FIRST: entry.marks()})
        return question(self._line.index)

    async def fetched(self, references: Sequence[Reference]) -> list[Letter]:
        return [self._line.letters[(reference.id, reference.place[1])] for reference in references]


def begun(line: Line, kind: type[Start] = Start, **order: Any) -> Start:
    start = new_job("anna", kind, **({"group": line.group, "rate": 1_000_000.0, "reason": "it is mended"} | order))
    line.write(start)
    return start


async def turns(runner: ReplayRunner, line: Line, many: int = 40, **fates: Callable[[int], bool]) -> None:
    for _ in range(many):
        await runner.turn()
        line.end(**fates)


@pytest.mark.parametrize("packed", [False, True])
async def test_a_job_is_carried_out_step_by_step_to_its_end(packed: bool) -> None:
    line = Line(30, packed=packed)
    start = begun(line, ramp=(1, 10))
    await turns(line.runner(), line)
    job = line.job(start.job)
    assert job.progress is not None
    assert (job.state, job.is_closed) == (JobState.DONE, True)
    assert (job.progress.tally.total, job.progress.tally.ended, job.progress.tally.under_way) == (30, 30, 0)
    assert set(line.reopened.values()) == {1}
    assert line.by == {f"anna (job {start.job}: it is mended)"}, "each letter says by which job it was replayed"


@pytest.mark.parametrize("dies_after", range(0, 50))
async def test_a_worker_that_is_killed_anywhere_leaves_the_rest_to_the_next_one(dies_after: int) -> None:
    line = Line(30)
    start = begun(line, ramp=(1, 10, 100))
    try:
        await turns(line.runner(dies_after), line)
    except Killed:
        await turns(line.runner(), line)
    assert line.job(start.job).state is JobState.DONE
    assert line.reopened == Counter(line.records), "each was replayed once"


async def test_a_job_stops_by_itself_and_goes_on_when_it_is_resumed() -> None:
    line = Line(300)
    start = begun(line, ramp=(1, 10, 100), stop_at=0.05)
    runner = line.runner()
    await turns(runner, line, dead=lambda place: 11 <= place < 20)
    job = line.job(start.job)
    assert job.progress is not None
    assert (job.state, job.progress.note) == (JobState.STOPPED, "9 of 111 replayed dead letters are dead again")
    assert line.reopened.total() == 111

    line.write(Ask(order=uuid.uuid4().hex, job=start.job, wish=Wish.RESUME, at=2.0, by="bert"))
    await turns(runner, line)
    job = line.job(start.job)
    assert job.progress is not None
    assert (job.state, job.progress.tally.dead_again, job.progress.tally.ended) == (JobState.DONE, 9, 291)
    assert set(line.reopened.values()) == {1}, "what is dead again is not replayed by the job once more"


async def test_a_job_that_is_paused_sends_nothing_and_one_that_is_cancelled_never_again() -> None:
    line = Line(30)
    start = begun(line, ramp=(5,))
    runner = line.runner()
    await turns(runner, line, 4)
    sent = line.reopened.total()
    assert 0 < sent < 30
    line.write(
        Ask(order=uuid.uuid4().hex, job=start.job, wish=Wish.PAUSE, at=2.0, by="bert", reason="the scales are hot")
    )
    await turns(runner, line, 5)
    job = line.job(start.job)
    assert job.progress is not None
    assert (job.state, job.progress.note, line.reopened.total()) == (JobState.PAUSED, "the scales are hot", sent)
    line.write(Ask(order=uuid.uuid4().hex, job=start.job, wish=Wish.RESUME, at=3.0, by="bert"))
    await turns(runner, line, 1)
    assert line.reopened.total() == sent + 5
    line.write(Ask(order=uuid.uuid4().hex, job=start.job, wish=Wish.CANCEL, at=4.0, by="bert"))
    await turns(runner, line, 5)
    assert (line.job(start.job).state, line.job(start.job).is_closed) == (JobState.CANCELLED, True)
    assert line.reopened.total() == sent + 5


async def test_no_letter_is_in_two_jobs_and_the_second_says_so() -> None:
    line = Line(10)
    first = begun(line, ramp=(1,))
    runner = line.runner()
    await turns(runner, line, 4)
    second = begun(line, ids=["source-0-9", "source-0-8"], group=None)
    await turns(runner, line)
    job = line.job(second.job)
    assert job.progress is not None
    assert job.progress.left_out == {f"in the replay job {first.job}": 2}
    assert (job.state, job.progress.tally.replayed) == (JobState.DONE, 0)
    assert line.job(first.job).state is JobState.DONE
    assert set(line.reopened.values()) == {1}


async def test_letters_that_are_named_by_their_ids_and_those_that_are_not_dead_any_more() -> None:
    line = Line(5)
    start = begun(line, ids=["source-0-3", "source-0-1", "source-0-77"], group=None)
    await turns(line.runner(), line)
    job = line.job(start.job)
    assert job.progress is not None
    assert sorted(line.reopened) == [1, 3]
    assert job.progress.left_out == {"not dead when the job began": 1}
    assert job.state is JobState.DONE


async def test_a_letter_that_cannot_be_replayed_stays_dead_with_its_reason() -> None:
    line = Line(5)
    start = begun(line, fields={"a.b": 1})
    place = next(key for key in line.letters if offset_of(line.letters[key].record_id) == 2)
    letter = line.letters[place]
    segment = msgspec.structs.replace(letter.envelope.segments[0], lines=(b'{"a":3}',))
    line.letters[place] = Letter(Envelope("signpost", Origin("source", 0), (segment,)), letter.settled)
    await turns(line.runner(), line)
    job = line.job(start.job)
    assert job.progress is not None
    assert (job.state, sorted(line.reopened)) == (JobState.DONE, [0, 1, 3, 4])
    [(reason, count)] = job.progress.left_out.items()
    assert ("'a' is a number" in reason, count) == (True, 1)


async def test_a_schema_registry_that_is_away_holds_a_job_up_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line(3)
    start = begun(line)

    async def away(letters: Sequence[Letter]) -> Rereading:
        raise DeadLetterError("the registry is away")

    monkeypatch.setattr(line, "read_again", away)
    await turns(line.runner(), line, 5)
    job = line.job(start.job)
    assert job.progress is not None
    assert (job.state, job.progress.note) == (JobState.RUNNING, "waiting: the registry is away")
    monkeypatch.undo()
    await turns(line.runner(), line)
    assert line.job(start.job).state is JobState.DONE


async def test_of_two_workers_the_one_that_claimed_last_carries_the_jobs_out() -> None:
    line = Line(40)
    start = begun(line, ramp=(1,))
    former, owner = line.runner(), line.runner(ownership=lambda: 4)
    await turns(former, line, 5)
    for _ in range(60):
        await owner.turn()
        await former.turn()
        line.end()
    job = line.job(start.job)
    assert job.progress is not None
    assert (job.state, job.progress.epoch) == (JobState.DONE, line.jobs_now().epoch)
    assert set(line.reopened.values()) == {1}


async def test_a_worker_without_the_partition_does_nothing() -> None:
    line = Line(3)
    begun(line)
    await turns(line.runner(ownership=lambda: None), line, 5)
    assert len(line.log) == 1


async def test_what_is_known_is_not_written_again() -> None:
    line = Line(3)
    start = begun(line)
    runner = line.runner()
    await turns(runner, line, 3)
    line.write(Ask(order=uuid.uuid4().hex, job=start.job, wish=Wish.PAUSE, at=2.0, by="bert"))
    await turns(runner, line, 5)
    written = len(line.log)
    await turns(runner, line, 5)
    assert len(line.log) == written


async def test_orders_that_nobody_of_the_line_writes_hold_up_no_other_job() -> None:
    line = Line(3)
    line.write(Start(job="f" * 10, at=1.0, by="eve", ids=("no id at all", "source-0-999999999999999")))
    line.log.append((b"f" * 10, b"garbage"))
    start = begun(line)
    await turns(line.runner(), line)
    assert line.job(start.job).state is JobState.DONE
    forged = line.job("f" * 10)
    assert forged.progress is not None
    assert (forged.state, forged.progress.left_out) == (JobState.DONE, {"not dead when the job began": 2})


def pause(start: Start, wish: Wish = Wish.PAUSE) -> Ask:
    return Ask(order=uuid.uuid4().hex, job=start.job, wish=wish, at=2.0, by="bert")


async def test_an_order_that_is_read_while_a_job_takes_a_step_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(30)
    start = begun(line, ramp=(5,))
    runner = line.runner()
    shared = Jobs()  # as of a board that pages share with the runner

    async def jobs() -> Jobs:
        for offset, (key, value) in enumerate(line.log):
            shared.add(offset, key, value)
        return shared

    monkeypatch.setattr(runner.board, "jobs", jobs)
    await turns(runner, line, 4)

    async def read_again(_: Sequence[Letter]) -> Rereading:
        line.write(pause(start))
        await jobs()
        return Rereading()

    monkeypatch.setattr(runner, "_read_again", read_again)
    await runner.turn()
    assert line.job(start.job).state is JobState.PAUSED


async def test_a_job_that_was_paused_before_it_began_is_carried_out_when_it_is_resumed() -> None:
    line = Line(10)
    start = begun(line)
    line.write(pause(start))
    runner = line.runner()
    await turns(runner, line, 5)
    assert line.job(start.job).state is JobState.PAUSED
    line.write(pause(start, Wish.RESUME))
    await turns(runner, line)
    assert line.job(start.job).state is JobState.DONE
    assert line.reopened == Counter(line.records)


async def test_a_letter_that_is_no_json_is_left_out_and_the_others_go_on() -> None:
    line = Line(3)
    start = begun(line, fields={"n": 1})
    [forged, *_] = line.letters
    letter = line.letters[forged]
    segment = msgspec.structs.replace(letter.envelope.segments[0], lines=(b"no json",))
    line.letters[forged] = replace(letter, envelope=msgspec.structs.replace(letter.envelope, segments=(segment,)))
    await turns(line.runner(), line)
    job = line.job(start.job)
    assert job.progress is not None
    assert (job.state, job.progress.tally.left_out, line.reopened.total()) == (JobState.DONE, 1, 2)


async def test_letters_that_were_deleted_from_their_topic_are_left_out() -> None:
    line = Line(10)
    start = begun(line, ramp=(2,))
    await turns(line.runner(), line, 4)
    sent = line.reopened.total()
    assert 0 < sent < 10
    line.index = DeskIndex()  # of a worker that begins later, when nothing is on the topic
    await turns(line.runner(), line)
    job = line.job(start.job)
    assert job.progress is not None
    assert (job.state, job.progress.tally.left_out, line.reopened.total()) == (JobState.DONE, 10 - sent, sent)


async def test_progress_that_a_client_delivers_late_is_written_over_and_its_job_stays_done() -> None:
    line = Line(3)
    start = begun(line)
    runner = line.runner()
    await turns(runner, line)
    late = next(entry for entry in line.log if entry[0].startswith(f"{start.job}/progress/".encode()))
    line.log.append(late)
    assert line.job(start.job).is_closed
    await turns(runner, line, 3)
    compacted = Jobs()
    for offset, (key, value) in enumerate(line.log):
        if key not in [later for later, _ in line.log[offset + 1 :]]:
            compacted.add(offset, key, value)
    assert compacted.by_id[start.job].state is JobState.DONE
    written = len(line.log)
    await turns(runner, line, 3)
    assert len(line.log) == written


@pytest.mark.parametrize("dies_after", [None, *range(0, 12, 3)])
async def test_a_job_that_discards_does_so_to_each_letter_once_without_steps(dies_after: int | None) -> None:
    line = Line(30)
    start = begun(line, StartDiscard, reason="a test order")
    try:
        await turns(line.runner(dies_after), line, 6)
    except Killed:
        await turns(line.runner(), line)
    job = line.job(start.job)
    assert job.progress is not None
    assert (job.state, job.act, job.progress.tally.ended) == (JobState.DONE, Act.DISCARD, 30)
    assert line.reopened == Counter(line.records)
    assert set(line.asked) == {DiscardRequest("a test order")}


async def test_the_letters_of_a_job_that_has_ended_stay_known_until_newer_ones_need_the_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line(4)
    runner = line.runner()
    first = begun(line, ids=["source-0-0", "source-0-1"], group=None)
    await turns(runner, line)
    [part] = line.job(first.job).letters or []
    assert part.blocks
    monkeypatch.setattr(board_module, "JOURNAL_BYTES", board_module.size_of(part) + 100)
    second = begun(line, ids=["source-0-2", "source-0-3"], group=None)
    await turns(runner, line)
    assert [part.blocks for part in line.job(first.job).letters or []] == [()]
    assert all(part.blocks for part in line.job(second.job).letters or [])


async def test_entries_of_the_journal_without_room_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "MAX_DONE", 50)
    line = Line(1)
    for number in range(200):
        line.write(Done(order=f"{number:032x}", act=Act.REPLAY, at=float(number), by="anna", blocks=()))
    runner = line.runner()
    await turns(runner, line, 4)
    assert len([key for key, value in line.log if value is None]) == 150
    jobs = line.jobs_now()
    assert (len(jobs.done), jobs.surplus, jobs.foreign) == (50, {}, 0)
    written = len(line.log)
    await turns(runner, line, 4)
    assert len(line.log) == written


async def test_a_job_about_a_topic_that_the_line_does_not_read_stops_and_says_so() -> None:
    line = Line(1)
    start = begun(line, StartForeign, topic="warehouse.dlq")
    await turns(line.runner(), line, 4)
    job = line.job(start.job)
    assert job.progress is not None
    assert (job.state, job.topic) == (JobState.STOPPED, "warehouse.dlq")
    assert "is not among the topics of [dead_letters]" in job.progress.note
    line.write(Ask(order=uuid.uuid4().hex, job=start.job, wish=Wish.CANCEL, at=9.0, by="anna"))
    await turns(line.runner(), line, 4)
    assert line.job(start.job).is_closed


class _Dlq:
    """A topic of another system that holds its letters from an offset on."""

    def __init__(self) -> None:
        self.begin = 0

    async def begins(self) -> dict[int, int]:
        return {0: self.begin}


async def test_notes_about_letters_of_other_systems_become_one_and_go_with_their_letters() -> None:
    line, dlq = Line(1), _Dlq()
    start = new_job("anna", StartForeign, topic="dlq", group="4be3b2")
    line.write(start, *(_taken(number, start.job) for number in range(40)))
    line.write(Progress(job=start.job, epoch=1, seen=1, at=3.0, state=JobState.DONE), _taken(50, None))
    runner = line.runner(foreign={"dlq": dlq})
    await turns(runner, line, 4)
    assert len(line.jobs_now().taken["dlq"].entries) == 2
    assert line.jobs_now().taken["dlq"].places == {0: BitMap64([*range(40), 50])}, "none of them is listed again"
    written = len(line.log)
    await turns(runner, line, 4)
    assert len(line.log) == written
    dlq.begin = 45  # the other system's topic has deleted what is older
    await turns(line.runner(foreign={"dlq": dlq}), line, 4)
    assert line.jobs_now().taken["dlq"].places == {0: BitMap64([50])}


@pytest.mark.parametrize("dies_after", range(4))
async def test_no_letter_is_listed_again_if_a_worker_is_killed_while_notes_become_one(dies_after: int) -> None:
    line = Line(1)
    start = new_job("anna", StartForeign, topic="dlq", group="4be3b2")
    line.write(start, *(_taken(number, start.job) for number in range(5)))
    line.write(Progress(job=start.job, epoch=1, seen=1, at=3.0, state=JobState.DONE))
    with suppress(Killed):
        await turns(line.runner(dies_after=dies_after), line, 4)
    for end in range(7, len(line.log) + 1):
        jobs = Jobs()
        for offset, (key, value) in enumerate(line.log[:end]):
            jobs.add(offset, key, value)
        assert jobs.taken["dlq"].places == {0: BitMap64(range(5))}
    await turns(line.runner(), line, 4)
    assert len(line.jobs_now().taken["dlq"].entries) == 1


def _taken(number: int, job: str | None) -> Taken:
    return Taken(
        order=f"{number:032x}",
        topic="dlq",
        at=float(number),
        by="anna",
        places={"0": encoded_offsets([number])},
        job=job,
        sent={"orders": {"2": encoded_offsets([100 + number])}},
    )


@pytest.mark.parametrize("seed", range(3))
async def test_forgeries_among_the_messages_keep_no_job_from_its_end(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    line, random = Line(12), Random(seed)
    runner = line.runner(foreign={"dlq": _Dlq()})

    def forge(count: int) -> None:
        for _ in range(count):
            forged = forged_job(random)
            line.log.append((forged.key or b"", forged.value))

    forge(150)
    start = begun(line, ramp=(1, 10))
    forge(50)
    await turns(runner, line, 60)
    assert line.job(start.job).state is JobState.DONE
    assert set(line.reopened.values()) == {1}
    written, logged = len(line.log), len(caplog.records)
    await turns(runner, line, 60)
    assert (len(line.log), len(caplog.records)) == (written, logged), "nothing is written or logged again and again"
