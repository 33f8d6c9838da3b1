"""Child processes that never outlive this one, such as the embedded broker and workers."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

# The guard reads from a pipe that only this process holds open. When this process ends, even by kill -9, the pipe is
# closed and the guard kills its process group: itself, the child, and the processes that the child started. This works
# from any thread and on every POSIX system, unlike Linux's PR_SET_PDEATHSIG.
GUARD = ["/bin/sh", "-c", "read -r _; kill -9 0"]


class Child:
    """A process in its own group. Ctrl-C reaches only this process, which then stops its children in order."""

    def __init__(self, process: subprocess.Popen[bytes], guard: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._guard = guard
        self.log = log

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        log: Path,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Start `command` in `folder`. Its output overwrites the file `log`. Raise OSError on failure."""
        guard = subprocess.Popen(GUARD, stdin=subprocess.PIPE, process_group=0)
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env=environment,
                    process_group=guard.pid,
                )
        except BaseException:
            guard.communicate()
            raise
        return cls(process, guard, log)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while the process runs; negative, as in `subprocess`, if a signal ended it."""
        return self._process.poll()

    def wait(self, timeout: float) -> int | None:
        """Wait until the process ends and return its exit code; None if it still runs after `timeout` seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return self.exit_code

    def last_words(self, lines: int = 3) -> str:
        """Describe in one line how the process ended, with the last lines of its log."""
        code = self.exit_code
        how = "still running" if code is None else f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        text = self.log.read_text("utf-8", "replace") if self.log.is_file() else ""
        said = [line.strip() for line in text.splitlines() if line.strip()]
        return f"{how}; log: {' | '.join(said[-lines:]) or 'empty'}"

    def terminate(self) -> None:
        """Ask the process to end (SIGTERM), without waiting."""
        self._process.terminate()

    def stop(self, timeout: float = 5.0) -> None:
        """Ask the process to end (SIGTERM); after `timeout` seconds kill it and all that it started. Idempotent."""
        try:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        finally:
            self._guard.communicate()  # closes the guard's pipe, which ends the group
            self._process.wait()
