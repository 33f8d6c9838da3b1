"""Messages on the line's topics that are not the line's own: counted by topic, and named in the log now and then."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable

LOG_SECONDS = 30.0
"""Time between two log lines about the same topic. Anybody can write thousands of such messages a second."""

MAX_REASON = 300
"""Maximum number of characters of a reason in the log: it may repeat parts of the message."""

log = logging.getLogger(__name__)


class ForeignMessages:
    """Counts the messages that a worker leaves out, since they cannot be ones that the line wrote."""

    def __init__(self, topics: Iterable[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        """Take the topics that are counted in any case. `clock` returns seconds since any moment."""
        self.counts: Counter[str] = Counter(dict.fromkeys(topics, 0))
        """The number of messages that were left out, by topic."""
        self._clock = clock
        self._logged: dict[str, tuple[float, int]] = {}
        """The time of the last line about each topic, and the count of that time."""

    def leave_out(self, topic: str, partition: int, offset: int, reason: object) -> None:
        """Count a message. The first of a topic is logged, and then at most one in `LOG_SECONDS`."""
        self.counts[topic] += 1
        count, now = self.counts[topic], self._clock()
        logged_at, logged = self._logged.get(topic, (float("-inf"), 0))
        if now - logged_at < LOG_SECONDS:
            return
        self._logged[topic] = now, count
        more = count - logged - 1
        log.error(
            "%s[%d] holds a message at offset %d that is not of this line, and it is left out (%s)%s",
            topic,
            partition,
            offset,
            ascii(str(reason))[1:-1][:MAX_REASON],
            f"; so were {more} more before it" if more else "",
            extra={"offset": offset},  # it is rate-limited here
        )
