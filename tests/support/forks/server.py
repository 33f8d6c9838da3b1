"""The fork server: it has imported all that workers and commands need, and forks itself for each that is started.

The import of Faust and the rest takes seconds of CPU time, which a forked process does not spend again. In all else it
is like one that `python -m metroline` starts: it has its own environment, folder, output, signals and exit code.

The server listens on a socket until its standard input is closed. Each process has a connection. The
client sends one byte with the descriptors for stdout and stderr, then a `Request`. The server answers with the process
id in one line, and with the exit code in another. It reaps the process when the client closes the connection: the id
stays valid until then. If the client goes away before the process has ended, the server kills it.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from tests.support.forks.request import Request


@dataclass(slots=True)
class Forked:
    """A process that has not been reaped yet."""

    pid: int
    connection: socket.socket
    _answered: bool = False

    def look(self) -> None:
        """Send the exit code if the process has ended; negative, as in `subprocess`, if a signal ended it."""
        ended = None if self._answered else os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            self._answered = True
            answer(self.connection, ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)

    def reap(self) -> None:
        """Kill the process if it still runs, and give back its id."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.connection.close()


class ForkServer:
    """The sockets of the server and the processes that it forked."""

    def __init__(self, address: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(64)
        self._ended, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        self._selector = selectors.DefaultSelector()
        self._forked: dict[int, Forked] = {}
        """Processes by the descriptor of their connection."""

    def serve(self) -> Request | None:
        """Return None once standard input is closed. In each forked process, return its request."""
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only a signal with a handler is written to the pipe
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for source in (sys.stdin, self._listener, self._ended):
            self._selector.register(source, selectors.EVENT_READ)
        for ready in self._ready():
            if ready == sys.stdin.fileno():
                break
            if ready == self._listener.fileno():
                request = self._fork()
                if request is not None:
                    return request
            elif ready == self._ended:
                os.read(ready, 1024)
                for forked in self._forked.values():
                    forked.look()
            else:
                self._selector.unregister(ready)
                self._forked.pop(ready).reap()
        for forked in self._forked.values():
            forked.reap()
        return None

    def _ready(self) -> Iterator[int]:
        """Yield the descriptor of each source that has something to read or was closed."""
        while True:
            for key, _ in self._selector.select():
                yield key.fd

    def _fork(self) -> Request | None:
        """Take a request and fork. Return the request in the new process, and None in the server."""
        connection, _ = self._listener.accept()
        _, output, _, _ = socket.recv_fds(connection, 1, 2)
        with connection.makefile() as lines:
            request = Request.decode(lines.readline())
        assert threading.active_count() == 1, "a forked process has only the thread that forked it"
        pid = os.fork()
        if pid == 0:
            connection.close()
            self._leave()
            _become(request, output)
            return request
        for descriptor in output:
            os.close(descriptor)
        with suppress(OSError):  # the process has ended already, or the group has, with the client
            os.setpgid(pid, request.group)
        self._forked[connection.fileno()] = Forked(pid, connection)
        self._selector.register(connection, selectors.EVENT_READ)
        answer(connection, pid)
        return None

    def _leave(self) -> None:
        """Close what belongs to the server, in a forked process."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        self._listener.close()
        for forked in self._forked.values():
            forked.connection.close()
        os.close(self._ended)
        os.close(self._wakeup)


def answer(connection: socket.socket, number: int) -> None:
    with suppress(OSError):  # the client has gone, as the server is about to notice
        connection.sendall(f"{number}\n".encode())


def _become(request: Request, output: list[int]) -> None:
    """Make this forked process what a new one would be."""
    descriptors = (os.open(os.devnull, os.O_RDONLY), *output)
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.path[0] = request.folder  # as `python -m` has it
    sys.argv = ["metroline", *request.arguments]
