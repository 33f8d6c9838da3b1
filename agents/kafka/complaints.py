"""Logs the errors that librdkafka reports, each kind at most once in a while."""

from __future__ import annotations

import logging
import time
from typing import Any

from confluent_kafka import KafkaError

COMPLAINT_SECONDS = 10.0
"""Time between two log lines about the same error."""

CRITICAL = 2
"""Syslog level: librdkafka logs each failed connection attempt as an error, several times a second."""

log = logging.getLogger(__name__)


class Complaints:
    """The errors of one client of librdkafka. They come through its error callback, and not through its log."""

    def __init__(self, client: str) -> None:
        """`client` is the name of the client in the log."""
        self.client = client
        self._told: dict[str, float] = {}

    @property
    def config(self) -> dict[str, Any]:
        """Configuration of librdkafka that has errors reported here."""
        return {"error_cb": self.tell, "log_level": CRITICAL, "log.connection.close": False}

    def tell(self, error: KafkaError) -> None:
        """Log an error unless it was logged lately."""
        now = time.monotonic()
        if now - self._told.get(error.name(), -COMPLAINT_SECONDS) >= COMPLAINT_SECONDS:
            self._told[error.name()] = now
            log.warning("%s: %s (%s)", self.client, error.str(), error.name())
