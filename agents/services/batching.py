"""The batches of a service that is called for several records at once."""

from __future__ import annotations

from dataclasses import dataclass

MAX_BATCH = 100
"""Default of the maximum number of records in a call."""

MOST_RECORDS = 10_000
"""Largest value of `max_batch`."""

MOST_SECONDS = 60.0
"""Largest value of `max_wait`: the records that wait are not acknowledged."""


@dataclass(frozen=True, slots=True)
class Batching:
    """The size of the batches of a service, and the time for which records wait for others."""

    size: int = MAX_BATCH
    """Maximum number of records in a call."""
    wait: float = 0.0
    """Maximum time for which the first record of a call waits for others, in seconds."""

    @classmethod
    def of(cls, batch: object, max_batch: int | None, max_wait: float | None, ordered: object) -> Batching | None:
        """Return the batches that parameters of `@service` ask for; None if records are handled one by one.

        Raise `ValueError` if a parameter has an invalid value.
        """
        if type(batch) is not bool:
            raise ValueError(f"batch must be True or False, not {batch!r}")
        if not batch:
            if max_batch is not None or max_wait is not None:
                raise ValueError("max_batch and max_wait need batch=True")
            return None
        if ordered:
            raise ValueError("ordered is for services that handle one record after the other: remove it or batch=True")
        size, wait = MAX_BATCH if max_batch is None else max_batch, 0.0 if max_wait is None else max_wait
        if type(size) is not int or not 1 <= size <= MOST_RECORDS:
            raise ValueError(f"max_batch must be an integer from 1 to {MOST_RECORDS}, not {size!r}")
        if type(wait) not in (int, float) or not 0 <= wait <= MOST_SECONDS:
            raise ValueError(f"max_wait must be a number of seconds from 0 to {MOST_SECONDS:g}, not {wait!r}")
        return cls(size, float(wait))
