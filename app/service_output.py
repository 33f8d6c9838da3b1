"""Shows everything that services write, with the name of their stop, in a worker whose output somebody watches."""

from __future__ import annotations

import atexit
import io
import logging
import os
import sys
from pathlib import Path
from threading import Lock
from typing import Any, TextIO

from metroline.agents.stops.containment import SERVICE
from metroline.app.logs import LIBRARIES

QUIET = ("metroline", "asyncio", *LIBRARIES)
"""Loggers of what a worker consists of. Only LOG_LEVEL says which of their lines are logged."""


class NamedOutput(io.TextIOBase):
    """A stream that begins each line which a service writes with the name of its stop: `price | …`.

    A line is written when it is complete, so that those of several services and threads do not mix.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._begun: dict[str | None, str] = {}
        """By stop, the beginning of the line that is not complete."""
        self._lock = Lock()

    def write(self, text: str) -> int:
        """Write the lines that are complete now."""
        stop = SERVICE.get()
        with self._lock:
            *complete, rest = (self._begun.pop(stop, "") + text).split("\n")
            if rest:
                self._begun[stop] = rest
            if complete:
                self._stream.write("".join(f"{_named(stop, line)}\n" for line in complete))
                self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Flush the lines that are complete. The others follow when they are, or when the process ends."""
        self._stream.flush()

    def finish(self) -> None:
        """Write the lines that were begun."""
        with self._lock:
            begun, self._begun = self._begun, {}
            self._stream.write("".join(f"{_named(stop, line)}\n" for stop, line in begun.items()))
            self._stream.flush()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def buffer(self) -> Any:
        """The stream of bytes below. What is written there has no name."""
        return self._stream.buffer


def _named(stop: str | None, line: str) -> str:
    return line if stop is None else f"{stop} | {line}"


def name_services_in_output() -> None:
    """Begin each line that a service writes to the standard output or to the errors with the name of its stop."""
    output, errors = NamedOutput(sys.stdout), NamedOutput(sys.stderr)
    sys.stdout, sys.stderr = output, errors
    atexit.register(output.finish)
    atexit.register(errors.finish)


class ServiceLines(logging.Filter):
    """Lets through the lines of services at every level, those of others if other filters let them through.

    Lines of the line's own files count as those of services; of what they call, only lines from INFO on.
    """

    def __init__(self, folder: Path, level: int, others: list[Any]) -> None:
        """`folder` is that of the line; `level` is that from which on other lines are shown to the filters `others`."""
        super().__init__()
        self._within = f"{folder}{os.sep}"
        self._level = level
        self._others = logging.Filterer()
        self._others.filters = others

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is logged."""
        if record.pathname.startswith(self._within):
            return True
        if SERVICE.get() is not None and record.levelno >= logging.INFO and not _is_quiet(record.name):
            return True
        return record.levelno >= self._level and bool(self._others.filter(record))


def _is_quiet(logger: str) -> bool:
    return logger.partition(".")[0] in QUIET


def log_services_at_every_level(logger: logging.Logger, folder: Path, level: int) -> None:
    """Have the handlers of the root logger write what services log, at every level, besides what they write now."""
    for handler in logger.handlers:
        handler.filters = [ServiceLines(folder, level, handler.filters)]
        handler.setLevel(logging.NOTSET)
    logger.setLevel(logging.NOTSET + 1)
    for name in QUIET:
        logging.getLogger(name).setLevel(level)
