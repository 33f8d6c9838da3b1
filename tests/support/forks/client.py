"""Processes that the fork server starts. The first of them starts the server, which ends with this process."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, cast

from metroline.app.local.child_process import GUARD, Child
from metroline.app.local.ports import HOST, free_port
from metroline.app.local.worker_process import WorkerProcess
from tests.support.forks.request import Request
from tests.support.project import ROOT
from tests.support.waiting import is_running


@dataclass(slots=True)
class Server:
    """The fork server of this process."""

    address: str | None = None
    """The path of its socket; None until it runs."""
    _starting: Lock = field(default_factory=Lock)

    def connect(self) -> socket.socket:
        """Return a connection for one process. Start the server if it does not run yet."""
        with self._starting:
            if self.address is None:
                self.address = _started()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.address)
        return connection


def _started() -> str:
    """Start a server that ends with this process, and return its address."""
    server = subprocess.Popen(
        [sys.executable, "-m", __package__],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # Ctrl-C reaches the tests, which then end their processes in order
    )
    atexit.register(server.communicate)  # closes its standard input
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    assert address, "the fork server did not start"
    return address


SERVER = Server()


class ForkedProcess:
    """A `metroline` command that runs as a process, with the methods of `subprocess.Popen` that a `Child` calls."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        output: IO[bytes],
        errors: IO[bytes],
        group: int = 0,
    ) -> None:
        self.returncode: int | None = None
        self._connection = SERVER.connect()
        socket.send_fds(self._connection, [b"+"], [output.fileno(), errors.fileno()])
        self._connection.sendall(Request([*arguments], str(folder), dict(environment), group).encode())
        self._answers = self._connection.makefile("rb", buffering=0)  # reads no further than the end of a line
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        code = self._exit_code(timeout=0)
        if code is None and not is_running(self.pid):
            code = self._exit_code(timeout=None)  # it is on its way
        return code

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once the process has ended. Raise `TimeoutExpired` after `timeout` seconds."""
        code = self._exit_code(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("metroline", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _exit_code(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = int(self._connection.recv(16))
            except (BlockingIOError, TimeoutError):
                return None
            self._answers.close()
            self._connection.close()
        return self.returncode


def start_worker(
    environment: Mapping[str, str], log: Path, port: int | None = None, options: Sequence[str] = ()
) -> WorkerProcess:
    """Start a worker as `WorkerProcess.start` does."""
    web_port = port or free_port()
    variables = {**os.environ, **environment, "WEB_PORT": str(web_port), "WEB_BIND": HOST}
    guard = subprocess.Popen(GUARD, stdin=subprocess.PIPE, process_group=0)
    try:
        with log.open("wb") as output:
            process = ForkedProcess(["worker", *options], Path.cwd(), variables, output, output, guard.pid)
    except BaseException:
        guard.communicate()
        raise
    return WorkerProcess(Child(cast("subprocess.Popen[bytes]", process), guard, log), web_port)
