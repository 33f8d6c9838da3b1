"""The retry policy of a service: its attempts, the waits between them, and its timeout."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts, waits and timeout of a service. All times are in seconds."""

    attempts: int = 5
    """Number of attempts per record, including the first one. Default 5."""
    backoff: float = 0.5
    """Upper bound of the wait before the second attempt; it doubles with each further attempt. Default 0.5."""
    backoff_max: float = 60.0
    """Upper bound of every wait. Default 60."""
    timeout: float = 30.0
    """Maximum time that a service may take for one attempt. Default 30."""
    wait_max: float = 30 * 24 * 3600.0
    """Maximum time for which a record waits at a stop because its service asks for it. Default 30 days."""

    def wait(self, attempts: int, jitter: float) -> float:
        """Return the wait in seconds after this many failed attempts: exponential backoff with full jitter.

        `jitter` is a random number from 0 to 1. See "Exponential Backoff And Jitter" in the AWS Architecture Blog.
        """
        return jitter * min(self.backoff_max, self.backoff * 2.0 ** min(attempts - 1, 64))
