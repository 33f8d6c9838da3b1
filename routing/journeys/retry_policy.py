"""Retries: how often, and after which waits, a record is tried again at a stop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts, waits and time-outs of a service. Times are in seconds."""

    attempts: int = 5
    """Attempts per record, the first one included. Default 5."""
    backoff: float = 0.5
    """Upper bound of the wait before the second attempt; it doubles with each further one. Default 0.5."""
    backoff_max: float = 60.0
    """Upper bound of any wait. Default 60."""
    timeout: float = 30.0
    """Time that an async or blocking service may take for a record. Default 30."""

    def wait(self, attempts: int, jitter: float) -> float:
        """Return the wait after so many failed attempts: exponential backoff with full jitter.

        `jitter` is a random number from 0 to 1. See "Exponential Backoff And Jitter" in the AWS Architecture Blog.
        """
        return jitter * min(self.backoff_max, self.backoff * 2.0 ** min(attempts - 1, 64))
