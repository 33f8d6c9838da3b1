"""`metroline dead-letters jobs`, `pause`, `resume` and `cancel`, and a replay that is a job."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from metroline.app.cli import cli
from metroline.app.cli import dead_letters as commands
from metroline.app.cli import replay_jobs as job_commands
from metroline.app.operations import replay_jobs as operations
from metroline.app.operations.permission import Permission
from metroline.app.operations.replay_jobs import JobBoard
from metroline.routing.journeys.replay_job_board import Jobs
from metroline.routing.journeys.replay_job_messages import (
    Ask,
    JobState,
    Message,
    Progress,
    Start,
    StartDiscard,
    Tally,
    encode,
)

ID = "0123456789"
EVIL = "\x1b[31mred\r\nerror: forged"


class Topic:
    """The topic of jobs, without a broker."""

    def __init__(self) -> None:
        self.written: list[Message] = []

    async def jobs(self, board: JobBoard) -> Jobs:
        jobs = Jobs()
        for offset, message in enumerate(self.written):
            jobs.add(offset, *encode(message))
        return jobs

    async def write(self, cluster: object, topics: object, *orders: Start | Ask, permission: Permission) -> None:
        permission.demand()
        self.written += orders


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    made = Topic()

    async def jobs(board: JobBoard) -> Jobs:
        return await made.jobs(board)

    monkeypatch.setattr(JobBoard, "jobs", jobs)
    monkeypatch.setattr(operations, "_write", made.write)
    return made


def started(topic: Topic, state: JobState = JobState.RUNNING, note: str = "", left_out: int = 0) -> None:
    """Let a worker have written this progress of a job."""
    topic.written.append(Start(job=ID, at=1.0, by="anna", group="4be3b2", reason="it is mended", fields={"n": 1}))
    out = {"it is no record": left_out} if left_out else {}
    tally = Tally(1_200, 1_100, 1_000, 60, 40, left_out)
    topic.written.append(Progress(job=ID, epoch=1, seen=1, at=2.0, state=state, tally=tally, left_out=out, note=note))


def metroline(*words: str) -> Result:
    return CliRunner().invoke(cli, ["dead-letters", *words])


def test_no_jobs_are_said_to_be_none(topic: Topic) -> None:
    assert metroline("jobs").stdout == "no replay jobs\n"


def test_the_list_has_the_figures_of_each_job(topic: Topic) -> None:
    started(topic)
    [job] = json.loads(metroline("jobs", "--json", "-").stdout)
    assert (job["job"], job["state"], job["total"], job["replayed"], job["dead_again"]) == (
        ID,
        "running",
        1_200,
        1_100,
        60,
    )
    listed = metroline("jobs").stdout
    for part in (ID, "running", "1,200", "1,100", "it is mended", "anna"):
        assert part in listed


def test_one_job_is_shown_with_all_that_was_done_to_it(topic: Topic) -> None:
    started(topic, JobState.STOPPED, "60 of 1100 replayed dead letters are dead again", left_out=3)
    assert metroline("resume", ID, "--reason", EVIL).exit_code == 0
    assert metroline("pause", ID).exit_code == 0
    shown = metroline("jobs", ID).stdout
    assert f"replay job {ID}: paused" in shown
    assert "1,100 of 1,200 replayed: 1,000 delivered or dropped, 60 dead again, 40 under way; 3 left out" in shown
    assert "set n = 1" in shown
    assert "1970-01-01T00:00:01.000Z  started by anna: it is mended" in shown
    assert "resumed by" in shown
    assert "3: it is no record" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("state", "order", "told"),
    [
        (JobState.DONE, "pause", "cannot be paused: it is done"),
        (JobState.CANCELLED, "resume", "cannot be resumed: it is cancelled"),
        (JobState.RUNNING, "resume", "cannot be resumed: it is running"),
        (JobState.STOPPED, "pause", "cannot be paused: it is stopped"),
    ],
)
def test_an_order_that_does_not_fit_the_state_is_refused(topic: Topic, state: JobState, order: str, told: str) -> None:
    started(topic, state)
    refused = metroline(order, ID)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert told in refused.stderr


def test_a_job_that_is_not_there_is_answered_with_those_that_are(topic: Topic) -> None:
    started(topic)
    refused = metroline("cancel", "none")
    assert refused.exit_code == 1
    assert f"there is no replay job 'none'; the latest jobs are {ID}" in refused.stderr


@pytest.mark.parametrize("words", [["--ramp", "1,x"], ["--ramp", ""], ["--ramp", "0"], ["--ramp", ",".join("1" * 21)]])
def test_a_wrong_ramp_is_wrong_use(words: list[str]) -> None:
    assert metroline("replay", "source-0-1", *words).exit_code == 2


@pytest.mark.parametrize("share", ["x", "101%", "-1", "nan", "2"])
def test_a_wrong_share_is_wrong_use(share: str) -> None:
    refused = metroline("replay", "source-0-1", "--stop-at", share)
    assert (refused.exit_code, "is no share: write it as in 5% or 0.05" in refused.stderr) == (2, True)


def test_a_job_takes_no_record_of_a_single_letter(tmp_path: Any) -> None:
    (tmp_path / "one.json").write_text("{}")
    refused = metroline("replay", "source-0-1", "--record", str(tmp_path / "one.json"), "--ramp", "1")
    assert (refused.exit_code, "--record replaces the record of one dead letter" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("state", "note", "left_out", "code"),
    [
        (JobState.DONE, "", 0, 0),
        (JobState.DONE, "", 2, 1),
        (JobState.STOPPED, "60 of 1100 replayed dead letters are dead again", 0, 1),
        (JobState.CANCELLED, "", 0, 1),
    ],
)
def test_who_starts_a_job_follows_it_to_its_end(
    topic: Topic, monkeypatch: pytest.MonkeyPatch, state: JobState, note: str, left_out: int, code: int
) -> None:
    """Looks once while the job runs, and once more when a worker has written how it ended."""
    orders: list[Start] = []

    async def start(settings: object, desk: object, order: Start, permission: Permission) -> None:
        permission.demand()
        orders.append(order)
        topic.written.append(order)

    async def look_again() -> None:
        tally = Tally(12, 12 - left_out, 12 - left_out, left_out=left_out)
        out = {"it is no record": left_out} if left_out else {}
        topic.written.append(
            Progress(job=orders[0].job, epoch=1, seen=9, at=2.0, state=state, tally=tally, left_out=out, note=note)
        )

    monkeypatch.setattr(commands, "_start", start)
    monkeypatch.setattr(job_commands, "_look_again", look_again)
    done = metroline("replay", "--group", "4be3b2", "--ramp", "1,10", "--stop-at", "2.5%", "--rate", "7")
    assert done.exit_code == code, done.stderr
    [order] = orders
    assert (order.ramp, order.stop_at, order.rate, order.group) == ((1, 10), 0.025, 7.0, "4be3b2")
    assert f"the replay job is {state}" in done.stdout
    assert note in done.stdout
    assert ("2 left out: it is no record" in done.stderr) == bool(left_out)
    assert f"metroline dead-letters cancel {order.job}" in done.stderr


def test_a_job_that_is_not_followed_prints_its_id_alone(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(settings: object, desk: object, order: Start, permission: Permission) -> None:
        permission.demand()
        topic.written.append(order)

    monkeypatch.setattr(commands, "_start", start)
    done = metroline("replay", "source-0-1", "source-0-2", "--detach")
    assert done.exit_code == 0
    [order] = topic.written
    assert isinstance(order, Start)
    assert (done.stdout, order.ids) == (f"{order.job}\n", ("source-0-1", "source-0-2"))


def test_a_group_is_discarded_by_a_job_that_says_so(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(settings: object, desk: object, order: Start, permission: Permission) -> None:
        permission.demand()
        topic.written.append(order)

    monkeypatch.setattr(commands, "_start", start)
    done = metroline("discard", "--group", "4be3b2", "--reason", EVIL, "--rate", "500", "--detach")
    assert done.exit_code == 0, done.stderr
    [order] = topic.written
    assert isinstance(order, StartDiscard)
    assert (order.group, order.reason, order.rate) == ("4be3b2", EVIL, 500.0)
    shown = metroline("jobs", order.job).stdout
    assert "group 4be3b2, to be discarded" in shown
    assert "pace\n  500 a second\n" in shown
    assert "\x1b" not in shown


def test_a_job_about_a_topic_that_the_workers_do_not_read_is_refused(topic: Topic) -> None:
    refused = metroline("replay", "--group", "4be3b2", "--from", "warehouse.dlq", "--ramp", "1,10")
    assert refused.exit_code == 2
    assert "--from warehouse.dlq: the workers do not read it: name it in line.toml" in refused.stderr
    assert topic.written == []


@pytest.mark.parametrize("words", [("--set", "a=1"), ("--to", "price"), ("--dry-run", "--call-services")])
def test_letters_of_another_system_are_replayed_as_they_are(words: tuple[str, ...]) -> None:
    refused = metroline("replay", "--group", "4be3b2", "--from", "warehouse.dlq", *words)
    assert (refused.exit_code, "--from replays dead letters as they are" in refused.stderr) == (2, True)
    refused = metroline("discard", "--group", "4be3b2", "--reason", "x", "--from", "warehouse.dlq", "--detach")
    assert (refused.exit_code, "--from discards at once" in refused.stderr) == (2, True)
