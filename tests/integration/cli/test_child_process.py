"""A child process ends when asked to, with everything that it started, and reports how it ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from metroline.app.local.broker_probe import BrokerSilent, wait_until_it_answers
from metroline.app.local.child_process import Child
from metroline.app.local.ports import free_port
from tests.support.waiting import children, is_running, wait_until


def test_what_the_child_started_ends_with_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = Child.start(["sh", "-c", "sleep 60 & echo $!; wait"], log)
    wait_until(lambda: log.read_text().endswith("\n"))
    grandchild = int(log.read_text())
    assert is_running(grandchild)

    child.stop()

    wait_until(lambda: not is_running(grandchild))


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = Child.start(["sh", "-c", "trap '' TERM; echo ready; sleep 60"], log)
    wait_until(lambda: "ready" in log.read_text())

    child.stop(timeout=0.2)

    assert child.last_words() == "SIGKILL; log: ready"


def test_a_child_says_how_it_ended(tmp_path: Path) -> None:
    child = Child.start(["sh", "-c", "echo one; echo two; echo three; exit 7"], tmp_path / "log")
    assert child.exit_code in {None, 7}
    wait_until(lambda: child.exit_code is not None)

    assert child.last_words(lines=2) == "exit code 7; log: two | three"
    child.stop()


def test_a_command_that_does_not_exist_leaves_nothing_behind(tmp_path: Path) -> None:
    before = children()

    with pytest.raises(FileNotFoundError):
        Child.start(["/no/such/command"], tmp_path / "log")

    assert children() == before


def test_a_child_runs_where_and_with_what_it_is_given(tmp_path: Path) -> None:
    child = Child.start(["/bin/sh", "-c", 'pwd -P; echo "$NAME"'], tmp_path / "log", tmp_path, {"NAME": "metroline"})
    wait_until(lambda: child.exit_code is not None)
    child.stop()

    assert (tmp_path / "log").read_text().split() == [str(tmp_path.resolve()), "metroline"]


def test_a_broker_that_never_answers_is_given_up(tmp_path: Path) -> None:
    child = Child.start(["sleep", "60"], tmp_path / "log")
    try:
        with pytest.raises(BrokerSilent, match=r"has not answered for 0\.1 s; still running; log: empty"):
            wait_until_it_answers(child, free_port(), "cluster", timeout=0.1)
    finally:
        child.stop()


def test_a_child_is_waited_for_as_long_as_one_wishes(tmp_path: Path) -> None:
    child = Child.start(["sleep", "60"], tmp_path / "log")
    assert child.wait(0.05) is None
    child.stop()
    ended = Child.start(["sh", "-c", "exit 3"], tmp_path / "log")
    assert ended.wait(30) == 3
    ended.stop()
