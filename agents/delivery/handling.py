"""Handlers of envelopes, and the outcome of records that a handler cannot handle."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.routing.errors import MetrolineError
from metroline.routing.messages.envelope import Envelope
from metroline.routing.outcome import Cause, Outcome

Handle = Callable[[Envelope, UnitOfWork], Awaitable[None]]
"""Handles an envelope. Everything that it sends or leaves for later holds the unit of work."""

log = logging.getLogger(__name__)


def outcome_of(error: Exception, where: str) -> Outcome:
    """Return the outcome of records whose handler at `where` raised an error.

    Errors other than `MetrolineError` are defects of Metroline and are logged; the line goes on.
    """
    if isinstance(error, MetrolineError):
        return Outcome.dead(Cause.MALFORMED_ENVELOPE, str(error))
    log.error("records at %s could not be handled", where, exc_info=error)
    return Outcome.dead(Cause.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
