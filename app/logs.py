"""The log of a worker: one line for each fact, as text or as JSON."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Literal

import orjson

from metroline.app.markup.text import escaped, escaped_json, escaped_lines

LogFormat = Literal["text", "json"]

REPEAT_SECONDS = 30.0
"""Time in which lines that differ by quantities alone are logged once."""

GRACE_SECONDS = 5.0
"""Time for which an error that clients mend by themselves is not logged."""

MAX_KINDS = 1_000
"""Number of kinds of lines that are remembered."""

MENDED = re.compile(
    r"NotLeaderForPartition|UnknownTopicOrPartition|LeaderNotAvailable|CoordinatorNotAvailable|"
    r"NotCoordinator|CoordinatorLoadInProgress|GroupLoadInProgress|"
    r"Broker: (Coordinator load in progress|Coordinator not available|Not coordinator)"
)
"""Errors of a broker whose topics or groups have just been created or are moving."""

LIBRARIES = ("aiokafka", "faust", "mode")
"""Libraries of which only warnings are logged, unless LOG_LEVEL is debug. Faust draws tables of its partitions."""

CLIENTS = (*LIBRARIES, "metroline.agents.kafka.complaints.librdkafka")
"""Loggers of clients, which mend such errors by themselves. The last one is named, as its import takes a while."""

STEPS = re.compile(
    r"\[\^-*[^]]*\]: (Starting|Stopping|-Stopped|Flush|Wait for|Shutting down|Gathering|Closing|Cleanup|"
    r"Signal received)"
)
"""Lines of Faust about each of the services that a worker consists of."""

SERVICE = re.compile(r"^\[\^-*[^]]*\]: ")
"""The mark that Faust's services put before their lines, as in `[^--OnRamp]: `."""

ROUTINE = re.compile(
    r"because it is rebalancing|"
    r"^(Timer .* is overlapping|Thread keepalive is not responding|No event received for |Missing sensor state for )"
)
"""Warnings of libraries about what is no fault: each rebalance, a busy event loop, changelogs without new entries."""

QUANTITY = re.compile(r"(?<!\bversion )(?<!\d)\d+")
"""A number by which lines that repeat may differ. A line about another version of the rules table is news."""


class JsonFormatter(logging.Formatter):
    """Writes a line as a JSON object: `time` in UTC, `level`, `logger`, `message` and, for an error, `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as text without line breaks."""
        at = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage().strip()),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = _clean(self.formatException(record.exc_info))
        return escaped_json(orjson.dumps(line).decode())


class LineFormatter(logging.Formatter):
    """Writes each message on one line that a terminal only shows, in the format of another formatter.

    Messages hold text from records, rules and other programs. A traceback has several lines.
    """

    def __init__(self, inner: logging.Formatter | None = None) -> None:
        """Take the formatter that adds the time and the level; by default the message stands alone."""
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the traceback of an error below it."""
        safe = copy(record)
        safe.msg, safe.args = escaped(record.getMessage().strip()), ()
        if record.exc_info and record.exc_info[0] is not None:
            safe.exc_text = escaped_lines(self.formatException(record.exc_info))
        if record.stack_info:
            safe.stack_info = escaped_lines(record.stack_info)
        return self._inner.format(safe)


@dataclass(slots=True)
class _Kind:
    """Lines that differ by quantities alone. Times are in seconds of the filter's clock."""

    began_at: float
    """Time of the first line that no pause of `REPEAT_SECONDS` separates from the last one."""
    seen_at: float
    logged_at: float = float("-inf")
    left_out: int = 0


class NewsFilter(logging.Filter):
    """Lets through what is news: no steps of Faust, no routine, and no line that was logged a moment ago.

    A line after others that were left out says how many they were.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds since any moment."""
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, int, str], _Kind] = {}
        self._lock = Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is logged; note in its message how many were left out before it."""
        library, _, _ = record.name.partition(".")
        marked = record.getMessage()
        message = SERVICE.sub("", marked)
        record.msg, record.args = message, ()  # Faust's formatter would draw a table of an argument with partitions
        if record.levelno <= logging.INFO and (library in LIBRARIES or STEPS.match(marked)):
            return False
        if (library in LIBRARIES or message != marked) and ROUTINE.search(message):
            return False
        if record.levelno >= logging.CRITICAL or hasattr(record, "offset"):
            return True  # what is said of an offset is said once
        is_mended = record.name.startswith(CLIENTS) and MENDED.search(message) is not None
        with self._lock:
            left_out = self._count((record.name, record.levelno, QUANTITY.sub("#", message)), is_mended)
        if left_out:
            were = "was" if left_out == 1 else "were"
            record.msg, record.args = f"{message} ({left_out} more like this {were} left out)", ()
        if is_mended:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return left_out is not None

    def _count(self, key: tuple[str, int, str], is_mended: bool) -> int | None:
        """Return the number of lines that were left out before this one; None if it is left out, too."""
        now = self._clock()
        kind = self._kinds.pop(key, None) or _Kind(now, now)
        self._kinds[key] = kind  # at the end: the first one is the one that was seen longest ago
        if len(self._kinds) > MAX_KINDS:
            del self._kinds[next(iter(self._kinds))]
        if now - kind.seen_at > REPEAT_SECONDS:
            kind.began_at = now
        kind.seen_at = now
        if is_mended and now - kind.began_at < GRACE_SECONDS:
            return None
        if now - kind.logged_at < REPEAT_SECONDS:
            kind.left_out += 1
            return None
        left_out, kind.left_out, kind.logged_at = kind.left_out, 0, now
        return left_out


def dress(handler: logging.Handler, log_format: LogFormat, level: int) -> None:
    """Have a handler write in this format, and only what is news unless the level is DEBUG."""
    handler.setFormatter(JsonFormatter() if log_format == "json" else LineFormatter(handler.formatter))
    if level > logging.DEBUG:
        handler.addFilter(NewsFilter())


def log_as_text() -> None:
    """Escape what is logged before Faust sets up its own log."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(LineFormatter())


def log_as_json(level: int) -> None:
    """Log as JSON from now on, before Faust sets up its own log."""
    handler = logging.StreamHandler(sys.stderr)
    dress(handler, "json", level)
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _clean(text: str) -> str:
    """Replace surrogates, which JSON cannot hold."""
    return text.encode(errors="replace").decode()
