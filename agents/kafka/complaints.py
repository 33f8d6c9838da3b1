"""Logs the errors of a client of librdkafka, which reports some of them many times a second."""

from __future__ import annotations

import logging
import time
from typing import Any

from confluent_kafka import KafkaError

COMPLAINT_SECONDS = 10.0
"""Time between two log lines about the same kind of error."""

NO_NEWS = ("FAIL ", "ERROR ", "PARTCNT ")
"""Beginnings of librdkafka's own log lines that say nothing new.

Errors are reported to the client, too. That a topic gained partitions is said by each client for each of its topics;
`PartitionWatch` says it once.
"""

REFUSALS = (KafkaError._FATAL, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)
"""Errors after which a consumer reads nothing more."""

UNANSWERED = (
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._WAIT_COORD,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
)
"""Errors of a question that may be answered later."""

LACKING = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the user lacks the right Read on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the user lacks the right Read on the group",
}
"""Descriptions of the errors that a missing right causes."""

log = logging.getLogger(__name__)


def is_refusal(error: KafkaError) -> bool:
    """Return whether a consumer reads nothing more after an error."""
    return bool(error.fatal()) or error.code() in REFUSALS


def is_silence(error: KafkaError) -> bool:
    """Return whether an error says that no broker answered, or that one that will answer later did."""
    return bool(error.retriable()) or error.code() in UNANSWERED


def described(error: KafkaError) -> str:
    """Return an error as text, with the right that is missing if one is."""
    return f"{LACKING.get(error.code(), error.str())} ({error.name()})"


class Complaints:
    """The errors of one client, each kind logged at most once in `COMPLAINT_SECONDS`."""

    def __init__(self, name: str) -> None:
        """Take the name of the client, with which each line begins."""
        self.name = name
        self._logged: dict[str, float] = {}

    @property
    def config(self) -> dict[str, Any]:
        """Configuration of librdkafka that has errors noted here."""
        return {"error_cb": self.note, "log.connection.close": False}

    def note(self, error: KafkaError) -> None:
        """Log an error, unless one of its kind was logged lately."""
        now = time.monotonic()
        if now - self._logged.get(error.name(), -COMPLAINT_SECONDS) >= COMPLAINT_SECONDS:
            self._logged[error.name()] = now
            log.warning("%s: %s (%s)", self.name, error.str(), error.name())


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(NO_NEWS)


library_log = logging.getLogger(f"{__name__}.librdkafka")
"""Takes librdkafka's own log lines, without those that say nothing new."""

library_log.addFilter(_is_news)
