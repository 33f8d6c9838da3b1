"""How often, and after which waits, a record is tried again at a stop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and for how long a service is tried. Times are in seconds."""

    attempts: int = 5
    """In all; 1 is never again."""
    backoff: float = 0.5
    """How long the first wait is at most; each further one twice as long, and each by chance anything up to that."""
    backoff_max: float = 60.0
    timeout: float = 30.0
    """How long a service may take that is awaited or runs in a thread."""

    def wait(self, attempts: int, jitter: float) -> float:
        """How long to wait after so many failed attempts: exponential backoff with full jitter (`jitter`: 0 to 1)."""
        return jitter * min(self.backoff_max, self.backoff * 2.0 ** min(attempts - 1, 64))
