"""The embedded broker: it starts and answers, its death is noticed, and no process is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from metroline.app.local.broker_probe import BrokerDied
from metroline.app.local.embedded_broker import BrokerMissing, EmbeddedBroker
from metroline.app.local.ports import PortInUse, free_port
from tests.support.waiting import children, is_open, is_running, wait_until

STARTS_A_BROKER = """
import time
from metroline.app.local.embedded_broker import EmbeddedBroker
with EmbeddedBroker.start() as broker:
    print(broker.pid, broker.port, flush=True)
    time.sleep(60)
"""
STARTS_A_BROKER_IN_A_THREAD = """
import threading, time
from metroline.app.local.embedded_broker import EmbeddedBroker
def start():
    global broker
    broker = EmbeddedBroker.start()
thread = threading.Thread(target=start)
thread.start()
thread.join()
time.sleep(0.5)
broker.check()
print(broker.pid, broker.port, flush=True)
time.sleep(60)
"""


def test_it_listens_until_the_block_ends_and_leaves_nothing_behind() -> None:
    before = children()

    with EmbeddedBroker.start() as broker:
        assert is_open(broker.port)
        assert broker.bootstrap == f"127.0.0.1:{broker.port}"
        assert broker.url == f"kafka://127.0.0.1:{broker.port}"
        broker.check()

    assert not is_running(broker.pid)
    assert not is_open(broker.port)
    assert children() == before


def test_it_stops_when_the_block_fails() -> None:
    with pytest.raises(KeyboardInterrupt), EmbeddedBroker.start() as broker:
        raise KeyboardInterrupt

    assert not is_running(broker.pid)


def test_it_may_be_stopped_twice() -> None:
    with EmbeddedBroker.start() as broker:
        broker.stop()
        broker.stop()

    assert not is_running(broker.pid)


def test_it_starts_on_the_port_that_is_asked_for_and_frees_it() -> None:
    with EmbeddedBroker.start() as first:
        port = first.port

    with EmbeddedBroker.start(port) as second:
        assert second.port == port


def test_a_port_in_use_is_refused_by_its_number() -> None:
    with EmbeddedBroker.start() as broker, pytest.raises(PortInUse, match=f"port {broker.port} of 127.0.0.1 is in use"):
        EmbeddedBroker.start(broker.port)


def test_another_port_is_taken_when_the_free_one_was_taken_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedBroker.start() as first:
        ports = iter([first.port, free_port()])
        monkeypatch.setattr("metroline.app.local.embedded_broker.free_port", lambda: next(ports))

        with EmbeddedBroker.start() as second:
            assert second.port != first.port
            first.check()


def test_a_broker_that_dies_is_reported_with_its_end_and_its_log() -> None:
    with EmbeddedBroker.start() as broker:
        os.kill(broker.pid, signal.SIGKILL)
        os.waitid(os.P_PID, broker.pid, os.WEXITED | os.WNOWAIT)

        with pytest.raises(BrokerDied, match=r"the broker died: SIGKILL; log: .*listening on") as died:
            broker.check()

    assert "\n" not in str(died.value)


def test_a_binary_that_ends_at_once_is_reported_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "tansu"
    binary.write_text("#!/bin/sh\necho no such option\nexit 3\n")
    binary.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(binary))

    with pytest.raises(BrokerDied, match="exit code 3; log: no such option"):
        EmbeddedBroker.start()


def test_its_log_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "broker.log"

    with EmbeddedBroker.start(log=log) as broker:
        assert f"tcp://127.0.0.1:{broker.port}" in log.read_text()


def test_a_missing_binary_says_to_name_a_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", "/no/such/tansu")

    with pytest.raises(BrokerMissing, match=r"no embedded broker on .*--broker or BROKER_URL"):
        EmbeddedBroker.start()


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null"])
def test_a_home_folder_that_cannot_be_written_to_is_no_obstacle(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)

    with EmbeddedBroker.start() as broker:
        broker.check()


@pytest.mark.parametrize(
    "program", [STARTS_A_BROKER, STARTS_A_BROKER_IN_A_THREAD], ids=["main thread", "another thread"]
)
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_parent(program: str, end: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},  # the folder of a broker whose parent is killed stays behind
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            pid, port = map(int, parent.stdout.readline().split())
            assert is_running(pid)
            assert is_open(port)
        finally:
            parent.send_signal(end)

    wait_until(lambda: not is_running(pid) and not is_open(port))


def test_it_outlives_the_thread_that_started_it() -> None:
    started: list[EmbeddedBroker] = []
    thread = threading.Thread(target=lambda: started.append(EmbeddedBroker.start()))
    thread.start()
    thread.join()

    with started[0] as broker:
        broker.check()
        assert is_open(broker.port)
