"""A child process that never outlives this one: the embedded broker, and whatever else a command starts."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

# The guard waits for the end of a pipe that this process alone holds open. However this process ends, kill -9 included,
# the pipe ends, and the guard kills its process group: itself, the child, and what the child started. That works from
# any thread and on every POSIX system; Linux's PR_SET_PDEATHSIG does neither.
GUARD = ["/bin/sh", "-c", "read -r _; kill -9 0"]


class Child:
    """A process in a group of its own: Ctrl-C reaches this process only, which then stops its children in order."""

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
        """Starts `command` in `folder`; what it prints goes to the file `log`, which is begun anew. Raises OSError."""
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
        """The number of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative, as in `subprocess`, if a signal ended it."""
        return self._process.poll()

    def last_words(self, lines: int = 3) -> str:
        """How it ended and the last lines of its log, in one line."""
        code = self.exit_code
        how = "still running" if code is None else f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        text = self.log.read_text("utf-8", "replace") if self.log.is_file() else ""
        said = [line.strip() for line in text.splitlines() if line.strip()]
        return f"{how}; log: {' | '.join(said[-lines:]) or 'empty'}"

    def terminate(self) -> None:
        """Asks it to end (SIGTERM) and does not wait."""
        self._process.terminate()

    def stop(self, timeout: float = 5.0) -> None:
        """Asks it to end (SIGTERM), kills it and what it started after `timeout` seconds; may be called again."""
        try:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        finally:
            self._guard.communicate()  # ends the guard's pipe, and with it the group
            self._process.wait()
