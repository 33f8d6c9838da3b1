"""A broker shared by all processes of a test run: the first that needs it starts it, and it ends with the last.

The broker belongs to a process of its own, this module run as a program. Each test process that uses the broker holds a
named pipe open. The program stops the broker once no process holds the pipe, even if a test process was killed.
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.brokers import Broker, running_embedded, running_kafka
from tests.support.project import ROOT

START_SECONDS = 200.0


@contextmanager
def shared_broker(name: str, folder: Path) -> Iterator[Broker]:
    """Yield the broker `embedded` or `kafka`, shared by all processes that name the same folder."""
    folder.mkdir(exist_ok=True)
    with _locked(folder):
        if not _users(folder).exists():
            os.mkfifo(_users(folder))
        user = os.open(_users(folder), os.O_RDWR)  # O_RDWR: opening does not wait for the program
        if not _address(folder).exists():
            _start(name, folder)
        broker = Broker(name, _address(folder).read_text())
    try:
        yield broker
    finally:
        os.close(user)


def _start(name: str, folder: Path) -> None:
    log = folder / "program.log"
    with log.open("wb") as output:
        program = subprocess.Popen(
            [sys.executable, "-m", __name__, name, str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends the tests first
        )
    deadline = time.monotonic() + START_SECONDS
    while not _address(folder).exists():
        assert program.poll() is None, f"the broker {name} did not start: {log.read_text()}"
        assert time.monotonic() < deadline, f"the broker {name} did not start within {START_SECONDS:g} s"
        time.sleep(0.02)
    program.returncode = 0  # it outlives this process, which need not warn of that


def _run(name: str, folder: Path) -> None:
    """Run the broker until no process uses it. Each start has data of its own: the last one may have ended before."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as scratch,
        running_embedded() if name == "embedded" else running_kafka(Path(scratch)) as broker,
    ):
        written = folder / "address.part"
        written.write_text(broker.bootstrap)
        written.rename(_address(folder))
        users = select.poll()
        users.register(os.open(_users(folder), os.O_RDONLY | os.O_NONBLOCK), 0)  # POLLHUP is always reported
        while True:
            users.poll()
            with _locked(folder):
                if users.poll(0):  # nobody came while this process waited for the lock
                    _address(folder).unlink()
                    return


def _users(folder: Path) -> Path:
    return folder / "users"


def _address(folder: Path) -> Path:
    return folder / "address"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    _run(sys.argv[1], Path(sys.argv[2]))
