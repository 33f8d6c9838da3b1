"""Replay jobs: the state that follows from the messages in their order, also compacted, and the steps of a ramp."""

from __future__ import annotations

import base64
import itertools
import uuid
from collections.abc import Iterator, Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pyroaring import BitMap, BitMap64

from metroline.routing.journeys import replay_job_board as module
from metroline.routing.journeys.replay_job_board import MAX_JOBS, Jobs, TakenEntry
from metroline.routing.journeys.replay_job_messages import (
    MAX_LETTERS,
    Act,
    Ask,
    Claim,
    Done,
    JobState,
    Members,
    Message,
    NotAJobMessage,
    Progress,
    Start,
    StartDiscard,
    StartForeign,
    Taken,
    Tally,
    Wish,
    decode,
    encode,
    encoded_offsets,
    key_of,
)
from metroline.routing.journeys.replay_jobs import Job, Step, after, next_step, shown_reasons

ID = "0123456789"
MARKS = base64.b64encode(BitMap([1, 2]).serialize()).decode()
HUGE = base64.b64encode(BitMap(range(2**32 - 1)).serialize()).decode()
BARE = {"kind": "start", "job": ID, "at": 1.0, "by": "anna"}
START = Start(job=ID, at=1.0, by="anna", group="4be3b2")


def at(*offsets: int) -> str:
    return encoded_offsets(offsets)


DONE = Done(order="a" * 32, act=Act.DISCARD, at=1.0, by="anna", blocks=(("0/source/0", 0, MARKS),))
TAKEN = Taken(order="a" * 32, topic="dlq", at=1.0, by="anna", places={"0": at(17)}, sent={"orders": {"2": at(4)}})


def ask(wish: Wish, at: float = 2.0) -> Ask:
    return Ask(order=uuid.uuid4().hex, job=ID, wish=wish, at=at, by="anna")


def progress(state: JobState, seen: int, epoch: int = 1, replayed: int = 0, number: int = 0) -> Progress:
    tally = Tally(9, replayed, replayed)
    return Progress(job=ID, epoch=epoch, seen=seen, at=3.0, state=state, tally=tally, number=number)


def members(epoch: int, part: int, parts: int) -> Members:
    return Members(job=ID, epoch=epoch, part=part, parts=parts, blocks=((f"0/source/{part}", 0, MARKS),))


def folded(messages: Sequence[Message]) -> Jobs:
    jobs = Jobs()
    for offset, message in enumerate(messages):
        jobs.add(offset, *encode(message))
    return jobs


def job_of(*messages: Message) -> Job:
    return folded([START, *messages]).by_id[ID]


MESSAGES: list[Message] = [
    START,
    ask(Wish.PAUSE),
    Claim(owner="a", worker="http://w:6066", at=1.0),
    members(1, 0, 2),
    progress(JobState.STOPPED, 7),
    Taken(order="a" * 32, topic="dlq", at=1.0, by="anna", places={"0": at(17, 18)}, reason="a test"),
    Taken(order="b" * 32, topic="dlq", at=1.0, by="anna", places={"0": at(17)}, job=ID, sent={"orders": {"2": at(4)}}),
    StartDiscard(job=ID, at=1.0, by="anna", group="4be3b2", reason="test orders"),
    StartForeign(job=ID, at=1.0, by="anna", ids=("0-17",), topic="dlq"),
    Done(
        order="a" * 32,
        act=Act.REPLAY,
        at=1.0,
        by="anna",
        is_edited=True,
        record="{}",
        blocks=(("0/source/0", 0, MARKS),),
    ),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    assert decode(*encode(message)) == message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"owner", None),
        (b"owner", b"{"),
        (b"owner", b"[]"),
        (b"owner", b'{"kind": "colour"}'),
        (b"x", encode(START)[1]),
        (None, encode(START)[1]),
        (ID.encode(), orjson.dumps(BARE)),
        (ID.encode(), orjson.dumps(BARE | {"group": "4be3b2", "ids": ["source-0-1"]})),
        (ID.encode(), orjson.dumps(BARE | {"group": "4be3b2", "ramp": []})),
        (ID.encode(), orjson.dumps(BARE | {"group": "4be3b2", "rate": 0})),
        (ID.encode(), orjson.dumps(BARE | {"group": "4be3b2", "at": -1})),
        (ID.encode(), orjson.dumps(BARE | {"group": "4be3b2", "kind": "start-discard"})),
        (ID.encode(), orjson.dumps(BARE | {"group": "4be3b2", "kind": "start-discard", "reason": "x", "to": "price"})),
        (ID.encode(), orjson.dumps(BARE | {"group": "4be3b2", "kind": "start-foreign"})),
        (
            ID.encode(),
            orjson.dumps(BARE | {"group": "4be3b2", "kind": "start-foreign", "topic": "d", "set": {}, "to": "x"}),
        ),
        (ID.encode(), orjson.dumps(BARE | {"group": "4be3b2", "fields": {"n": [8888]}}).replace(b"8888", b"9" * 20)),
        (b"done/x", None),
        (b"done/" + b"a" * 32, encode(DONE)[1].replace(MARKS.encode(), b"AAAA")),
        (b"done/" + b"a" * 32 + b"/1", encode(DONE)[1]),
        (b"done/" + b"a" * 32, encode(replace(DONE, blocks=(("0/source/0", 0, HUGE),)))[1]),
        (b"taken/" + b"a" * 32, encode(TAKEN)[1].replace(b'"2"', b'"two"')),
        (b"taken/" + b"a" * 32, encode(replace(TAKEN, places={"0": "AAAA"}))[1]),
        (b"taken/" + b"a" * 32, encode(replace(TAKEN, places={"0": encoded_offsets(range(MAX_LETTERS + 1))}))[1]),
    ],
)
def test_what_nobody_of_the_line_writes_is_counted_and_left_out(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises(NotAJobMessage):
        decode(key, value)
    jobs = Jobs()
    jobs.add(5, key, value)
    assert (jobs.by_id, jobs.foreign, jobs.end) == ({}, 1, 6)


def test_a_message_about_a_job_that_nobody_started_is_left_out() -> None:
    jobs = folded([ask(Wish.PAUSE), progress(JobState.DONE, 0)])
    assert (jobs.by_id, jobs.foreign) == ({}, 2)


STATES = {
    # from               pause              resume             cancel
    JobState.RUNNING: (JobState.PAUSED, JobState.RUNNING, JobState.CANCELLED),
    JobState.PAUSED: (JobState.PAUSED, JobState.RUNNING, JobState.CANCELLED),
    JobState.STOPPED: (JobState.STOPPED, JobState.RUNNING, JobState.CANCELLED),
    JobState.DONE: (JobState.DONE,) * 3,
    JobState.CANCELLED: (JobState.CANCELLED,) * 3,
}


@pytest.mark.parametrize(("state", "wish"), list(itertools.product(JobState, Wish)))
def test_every_order_in_every_state(state: JobState, wish: Wish) -> None:
    expected = STATES[state][list(Wish).index(wish)]
    assert after(state, wish) is expected
    assert job_of(progress(state, 2), ask(wish)).state is expected, "an order that no worker has read yet counts"
    assert job_of(ask(wish), progress(state, 2)).state is state, "the worker had read it"


def test_an_order_that_came_while_the_worker_wrote_counts() -> None:
    late = progress(JobState.STOPPED, 1)  # it had read the start alone
    assert job_of(ask(Wish.PAUSE), late).state is JobState.STOPPED
    assert job_of(ask(Wish.CANCEL), late).state is JobState.CANCELLED
    assert job_of(ask(Wish.CANCEL), progress(JobState.DONE, 1)).state is JobState.DONE


def test_only_a_job_that_had_stopped_begins_its_ramp_anew_when_it_is_resumed() -> None:
    assert job_of(progress(JobState.STOPPED, 2), ask(Wish.RESUME)).is_resumed
    assert job_of(progress(JobState.STOPPED, 2), ask(Wish.RESUME), ask(Wish.PAUSE, 3.0)).is_resumed
    assert not job_of(progress(JobState.PAUSED, 2), ask(Wish.RESUME)).is_resumed
    assert not job_of(progress(JobState.STOPPED, 2), ask(Wish.RESUME), progress(JobState.RUNNING, 3)).is_resumed


def test_what_a_former_worker_writes_late_is_left_out() -> None:
    late = progress(JobState.DONE, 2, epoch=1, replayed=2)
    job = job_of(ask(Wish.PAUSE), ask(Wish.RESUME), progress(JobState.RUNNING, 3, epoch=2, replayed=5), late)
    assert job.progress is not None
    assert (job.state, job.progress.tally.replayed) == (JobState.RUNNING, 5)


def test_the_letters_of_a_job_are_those_that_were_complete_first() -> None:
    assert job_of().letters is None
    assert job_of(members(1, 0, 2)).letters is None
    job = job_of(members(1, 0, 2), members(2, 0, 2), members(2, 1, 2), members(1, 1, 2))
    assert job.letters == [members(2, 0, 2), members(2, 1, 2)]


@pytest.mark.parametrize("marks", ["", "%", "AAAA", MARKS[:-4]])
def test_letters_that_cannot_be_read_are_left_out(marks: str) -> None:
    forged = Members(job=ID, epoch=1, part=0, parts=1, blocks=(("0/source/0", 0, marks),))
    assert job_of(forged).letters is None


def test_nobody_can_write_progress_in_an_epoch_that_has_not_come_yet() -> None:
    job = job_of(progress(JobState.DONE, 2, epoch=2**52), progress(JobState.RUNNING, 2, epoch=1))
    assert (job.state, job.is_closed) == (JobState.RUNNING, False)


def test_jobs_that_have_ended_make_room_for_new_ones() -> None:
    def start(number: int) -> Start:
        return Start(job=f"{number:010x}", at=1.0, by="anna", group="4be3b2")

    jobs = folded([START, progress(JobState.DONE, 1), *map(start, range(MAX_JOBS - 1))])
    assert (len(jobs.by_id), ID in jobs.by_id) == (MAX_JOBS, True)
    assert jobs.add(jobs.end, *encode(start(MAX_JOBS))) is None
    assert (len(jobs.by_id), ID in jobs.by_id) == (MAX_JOBS, False)
    assert "are open already" in (jobs.add(jobs.end, *encode(start(MAX_JOBS + 1))) or "")


def test_the_journal_is_bounded_and_what_is_deleted_from_the_topic_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_DONE", 3)
    jobs = folded([replace(DONE, order=f"{number:032x}") for number in range(5)])
    assert [done.order[-1] for done in jobs.done.values()] == ["2", "3", "4"]
    assert list(jobs.surplus) == [f"done/{number:032x}" for number in range(2)]
    for key in (*jobs.surplus, f"done/{3:032x}"):
        assert jobs.add(jobs.end, key.encode(), None) is None
    assert (list(jobs.done), jobs.surplus, jobs.foreign) == ([f"done/{2:032x}", f"done/{4:032x}"], {}, 0)
    monkeypatch.setattr(module, "JOURNAL_BYTES", module.size_of(DONE))
    jobs.add(jobs.end, *encode(replace(DONE, order="f" * 32)))
    assert (list(jobs.done), jobs.done_bytes) == (["done/" + "f" * 32], module.size_of(DONE))


def test_all_messages_of_a_job_that_made_room_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_JOBS", 1)
    order = ask(Wish.PAUSE)
    jobs = folded([START, order, members(1, 0, 1), progress(JobState.CANCELLED, 2), replace(START, job="f" * 10)])
    assert list(jobs.by_id) == ["f" * 10]
    assert set(jobs.surplus) == {ID, f"{ID}/ask/{order.order}", f"{ID}/members/1/0", f"{ID}/progress/1"}


def test_a_job_is_open_until_a_worker_has_closed_it() -> None:
    assert folded([START]).open
    assert folded([START, ask(Wish.CANCEL)]).open, "somebody has to write what became of its letters"
    assert not folded([START, ask(Wish.CANCEL), progress(JobState.CANCELLED, 2)]).open


def test_dead_letters_of_another_system_that_were_taken_are_known_by_their_places() -> None:
    jobs = folded(
        [
            Taken(order="a" * 32, topic="dlq", at=1.0, by="anna", places={"0": at(17, 18)}),
            Taken(order="b" * 32, topic="dlq", at=1.0, by="bert", places={"0": at(18), "3": at(1)}),
            Taken(order="c" * 32, topic="other", at=1.0, by="bert", places={"7": at(1)}),
        ]
    )
    places = {topic: taken.places for topic, taken in jobs.taken.items()}
    assert places == {"dlq": {0: BitMap64([17, 18]), 3: BitMap64([1])}, "other": {7: BitMap64([1])}}
    with pytest.raises(NotAJobMessage):
        decode(*encode(Taken(order="a" * 32, topic="dlq", at=1.0, by="anna", places={"x": at(1)})))


def taken(number: int, job: str | None = ID) -> Taken:
    note = Taken(order=f"{number:032x}", topic="dlq", at=float(number), by="anna", places={"0": at(number)}, job=job)
    return replace(note, sent={"orders": {"2": at(100 + number)}})


def test_the_notes_of_a_job_are_one_once_it_has_ended_and_it_stands_for_all_of_them() -> None:
    jobs = folded([START, *map(taken, range(1, 4))])
    assert list(jobs.folds(1e9)) == [], "the job still has to know where its letters went"
    jobs.add(jobs.end, *encode(progress(JobState.DONE, 1)))
    [(whole, others)] = jobs.folds(0.0)
    assert (whole.places, whole.sent, whole.at, whole.job) == ({"0": at(1, 2, 3)}, {}, 1.0, ID)
    assert jobs.add(jobs.end, *encode(whole)) is None
    for key in others:
        assert jobs.add(jobs.end, key.encode(), None) is None
        assert jobs.taken["dlq"].places == {0: BitMap64([1, 2, 3])}, "at no moment is one listed again"
    assert list(jobs.taken["dlq"].entries) == [key_of(whole)]
    assert list(jobs.folds(1e9)) == []


def test_the_notes_of_a_replay_without_a_job_are_one_when_no_more_come() -> None:
    parts = [replace(taken(number, None), order="d" * 32, part=number) for number in range(1, 4)]
    jobs = folded([*parts, replace(taken(9, None), order="e" * 32)])
    assert list(jobs.folds(3.0)) == []
    [(whole, others)] = jobs.folds(4.0)
    assert (key_of(whole), others) == (f"taken/{'d' * 32}/1", [f"taken/{'d' * 32}/{part}" for part in (2, 3)])


def test_notes_without_room_are_left_out_and_known_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    one = taken(1)
    monkeypatch.setattr(module, "TAKEN_BYTES", 2 * TakenEntry.of(one).weight)
    jobs = folded([START, one, taken(2), replace(one, by="bert")])
    assert (jobs.is_full, jobs.foreign) == (False, 0), "a note replaces its former one"
    assert "no room" in (jobs.add(jobs.end, *encode(taken(3))) or "")
    assert jobs.is_full
    jobs = folded([START, one, taken(2)])
    jobs.add(jobs.end, key_of(one).encode(), None)
    assert jobs.add(jobs.end, *encode(taken(3))) is None, "one that is deleted makes room"


def test_a_note_is_needed_for_as_long_as_its_topic_holds_a_letter() -> None:
    note = replace(taken(1, None), places={"0": at(1, 5), "1": at(3)})
    jobs = folded([START, note, taken(2)])
    assert jobs.past("dlq", {0: 6, 1: 3}) == []
    assert jobs.past("dlq", {0: 6}) == [], "who knows what the other partition holds"
    assert jobs.past("dlq", {0: 6, 1: 4}) == [key_of(note)], "the job of the other has not ended"
    assert jobs.past("other", {0: 6, 1: 4}) == []
    jobs.add(jobs.end, key_of(note).encode(), None)
    assert jobs.taken["dlq"].places == {0: BitMap64([2])}


def test_the_latest_claim_is_the_one_that_counts_and_its_offset_is_the_epoch() -> None:
    jobs = folded([START, Claim(owner="a", worker="w", at=1.0), Claim(owner="b", worker="w", at=1.0)])
    assert jobs.claim is not None
    assert (jobs.claim.owner, jobs.epoch) == ("b", 2)


messages = st.one_of(
    st.builds(ask, st.sampled_from(Wish), st.floats(2, 3)),
    st.builds(
        lambda state, back, epoch, number: (state, back, epoch, number),
        st.sampled_from(JobState),
        st.integers(0, 3),
        st.integers(1, 2),
        st.integers(0, 3),
    ),
)


@given(st.lists(messages, max_size=12))
def test_a_compacted_topic_tells_the_same(written: list[Ask | tuple[JobState, int, int, int]]) -> None:
    log: list[tuple[int, Message]] = [(0, START)]
    for offset, one in enumerate(written, start=1):
        message = one if isinstance(one, Ask) else progress(one[0], max(0, offset - one[1]), one[2], number=one[3])
        log.append((offset, message))
    for job in folded([message for _, message in log]).overtaken:
        assert job.progress is not None
        log.append((len(log), replace(job.progress, epoch=2, number=9)))  # as the worker that carries out the jobs does
    whole, compacted = Jobs(), Jobs()
    latest = {encode(entry)[0]: offset for offset, entry in log}
    for offset, entry in log:
        whole.add(offset, *encode(entry))
        if latest[encode(entry)[0]] == offset:
            compacted.add(offset, *encode(entry))
    assert whole.by_id[ID].state is compacted.by_id[ID].state
    assert whole.by_id[ID].is_resumed == compacted.by_id[ID].is_resumed


def test_progress_that_is_delivered_late_reopens_no_job_and_is_overwritten() -> None:
    done, late = progress(JobState.DONE, 2, number=7), progress(JobState.RUNNING, 2, number=6)
    jobs = folded([START, done, late])
    assert (jobs.open, jobs.by_id[ID].progress) == ([], done)
    assert [job.id for job in jobs.overtaken] == [ID], "compaction would keep the late one alone"
    jobs.add(jobs.end, *encode(replace(done, number=8)))
    assert jobs.overtaken == []


def start(ramp: tuple[int, ...], stop_at: float = 1.0, patience: float = 60.0) -> Start:
    return Start(job=ID, at=1.0, by="anna", group="4be3b2", ramp=ramp, stop_at=stop_at, patience=patience)


def sizes(ramp: tuple[int, ...], total: int) -> Iterator[int]:
    """Yield the steps of a job whose letters all end at once."""
    done = 0
    while (step := next_step(start(ramp), Tally(total, done, done), (0, 0), 0.0)).state is JobState.RUNNING:
        yield step.allowed
        done += step.allowed


@pytest.mark.parametrize(
    ("ramp", "total", "steps"),
    [
        ((1, 10, 100), 300, [1, 10, 100, 100, 89]),
        ((5,), 12, [5, 5, 2]),
        ((1, 10, 100, 1_000), 3, [1, 2]),
        ((1_000,), 10, [10]),
        ((1,), 0, []),
    ],
)
def test_the_steps_of_a_ramp(ramp: tuple[int, ...], total: int, steps: list[int]) -> None:
    assert list(sizes(ramp, total)) == steps


def test_a_step_is_completed_before_the_next_one_begins() -> None:
    ramp = start((1, 10, 100))
    assert next_step(ramp, Tally(300, 5, 1, 0, 4), (0, 0), 0.0) == Step(6), "within a step nothing is waited for"
    assert next_step(ramp, Tally(300, 11, 8, 0, 3), (0, 0), 0.0) == Step(), "the outcomes of three are missing"
    assert next_step(ramp, Tally(300, 11, 8, 0, 3), (0, 0), 60.0) == Step(100), "nothing has come for a minute"
    assert next_step(ramp, Tally(300, 11, 11), (0, 0), 0.0) == Step(100)


def test_a_job_is_done_when_all_have_their_outcome_or_nothing_comes_any_more() -> None:
    ramp = start((100,))
    assert next_step(ramp, Tally(10, 8, 6, 0, 2, 2), (0, 0), 0.0) == Step()
    assert next_step(ramp, Tally(10, 8, 8, 0, 0, 2), (0, 0), 0.0) == Step(0, JobState.DONE)
    assert next_step(ramp, Tally(10, 8, 6, 0, 2, 2), (0, 0), 60.0) == Step(0, JobState.DONE)


def test_a_job_stops_as_soon_as_more_than_its_share_is_certain_to_be_dead_again() -> None:
    careful = start((1, 10, 100), stop_at=0.05)
    assert next_step(careful, Tally(300, 1, 0, 1), (0, 0), 0.0).state is JobState.STOPPED
    assert next_step(careful, Tally(300, 11, 11), (0, 0), 0.0).allowed == 100
    assert next_step(careful, Tally(300, 30, 25, 5), (0, 0), 0.0).state is JobState.RUNNING, "5 of 111 are 4.5 %"
    stopped = next_step(careful, Tally(300, 30, 24, 6), (0, 0), 0.0)
    assert (stopped.state, stopped.allowed) == (JobState.STOPPED, 0)
    assert stopped.note == "6 of 30 replayed dead letters are dead again"


def test_the_last_letters_stop_a_job_as_well() -> None:
    assert next_step(start((100,), stop_at=0.5), Tally(2, 2, 0, 2), (0, 0), 0.0).state is JobState.STOPPED


def test_after_a_resumption_the_ramp_and_the_share_begin_anew() -> None:
    careful = start((1, 10, 100), stop_at=0.05)
    assert next_step(careful, Tally(300, 30, 24, 6), (30, 6), 0.0) == Step(1)
    assert next_step(careful, Tally(300, 31, 24, 7), (30, 6), 0.0).state is JobState.STOPPED
    assert next_step(careful, Tally(300, 31, 25, 6), (30, 6), 0.0) == Step(10)


@given(
    ramp=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    share=st.floats(0, 1),
    fates=st.lists(st.booleans(), max_size=200),
)
def test_a_job_never_goes_beyond_a_step_in_which_too_many_died(
    ramp: list[int], share: float, fates: list[bool]
) -> None:
    """Whatever dies: each step is within the ramp, and what is sent beyond it has a share that is allowed."""
    order, done = start(tuple(ramp), share), 0
    for _ in range(len(fates) + 2):
        dead = sum(fates[:done])
        step = next_step(order, Tally(len(fates), done, done - dead, dead), (0, 0), 0.0)
        if step.state is not JobState.RUNNING:
            assert step.state is JobState.DONE or dead > share * done
            assert step.state is JobState.STOPPED or done == len(fates)
            return
        assert 0 < step.allowed <= max(ramp)
        assert dead <= share * max(done, 1)
        done += step.allowed
    pytest.fail("the job has no end")


def test_the_most_frequent_reasons_are_shown_and_the_others_counted_together() -> None:
    shown = shown_reasons({f"reason {number:02}": number for number in range(1, 31)})
    assert len(shown) == 21
    assert next(iter(shown.items())) == ("reason 30", 30)
    assert sum(shown.values()) == sum(range(1, 31))
