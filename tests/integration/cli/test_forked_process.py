"""A process that the fork server starts is in everything that tests rely on like one that a user starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from metroline.app.local.ports import free_port
from tests.support.cli import metroline
from tests.support.forks.client import SERVER, start_worker
from tests.support.project import ROOT
from tests.support.waiting import is_open, is_running, wait_until

CLIENT = """
import os, sys
from pathlib import Path
from tests.support.forks.client import SERVER, ForkedProcess
SERVER.address, port = sys.argv[1:]
with open(os.devnull, "wb") as output:
    broker = ForkedProcess(["broker", "--port", port], Path.cwd(), dict(os.environ), output, output)
print(broker.pid, flush=True)
sys.stdin.read()
"""


def test_output_exit_code_folder_and_environment_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text("no table")
    ended = metroline("check", "routes.toml", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "routes.toml" in ended.stderr
    ended = metroline("push", cwd=tmp_path, MAX_HOPS="none")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: MAX_HOPS: ")
    assert metroline("--version", cwd=tmp_path).returncode == 0


def test_it_is_killed_by_a_signal_and_keeps_its_id_until_its_exit_code_is_read(tmp_path: Path) -> None:
    worker = start_worker({"BROKER_URL": "kafka://127.0.0.1:1"}, tmp_path / "log")
    assert os.getpgid(worker.child.pid) != os.getpgid(0)
    os.kill(worker.child.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(worker.child.pid))
    assert psutil.pid_exists(worker.child.pid)
    assert worker.child.exit_code == -signal.SIGKILL
    wait_until(lambda: not psutil.pid_exists(worker.child.pid))
    worker.stop()


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    metroline("--version", cwd=tmp_path)  # the server runs
    assert SERVER.address is not None
    port = free_port()
    command = [sys.executable, "-c", CLIENT, SERVER.address, str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        pid = int(client.stdout.readline())
        wait_until(lambda: is_open(port), timeout=60)
        client.kill()
        wait_until(lambda: not is_running(pid) and not is_open(port))
