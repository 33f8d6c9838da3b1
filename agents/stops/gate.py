"""The gate of a stop: when the next call of its service may begin, by its rate and by its circuit breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metroline.agents.services.service import Service
from metroline.agents.stops.circuit_breaker import LOOK_SECONDS, CircuitBreaker
from metroline.agents.stops.rate_limit import RateLimit
from metroline.routing.journeys.answers import Answers, Failure
from metroline.routing.journeys.requested_waits import WaitRequest
from metroline.routing.messages.record_ids import SEVERAL, Origin


@dataclass(slots=True)
class Gate:
    """Lets calls of a service begin, and learns from their results."""

    limit: RateLimit | None = None
    breaker: CircuitBreaker | None = None

    @classmethod
    def of(cls, service: Service, sharers: Callable[[], int]) -> Gate | None:
        """Return the gate of a service; None if its calls may begin at any time."""
        limit = None if service.rate is None else RateLimit(service.rate, sharers)
        breaker = None if service.pause_after is None else CircuitBreaker(service.name, service.pause_after)
        return None if limit is None and breaker is None else cls(limit, breaker)

    @property
    def is_closed(self) -> bool:
        """True while the stop is paused, so that at most one call may begin at a time, as a probe."""
        return self.breaker is not None and self.breaker.is_paused

    def wait(self) -> float:
        """Return the seconds until a call may begin; 0 or less if one may begin now."""
        return max(one.wait() for one in (self.limit, self.breaker) if one is not None)

    def begin(self) -> None:
        """Note that a call begins."""
        for one in (self.limit, self.breaker):
            if one is not None:
                one.begin()

    async def turn(self, is_discarded: Callable[[], bool] = lambda: False) -> bool:
        """Wait until a call may begin, and note that it does; return False if it is no longer wanted."""
        while (seconds := self.wait()) > 0:
            if is_discarded():
                return False
            await asyncio.sleep(min(seconds, LOOK_SECONDS))
        self.begin()
        return True

    def ended(self, origin: Origin, answers: Answers, place: int) -> None:
        """Note the answer of the call for the record at an index. A failure of a paused stop uses up no attempt."""
        if self.breaker is None:
            return
        failure = answers.failures.get(place)
        if failure is not None and failure.is_final:
            self.breaker.answered()
        elif failure is not None and failure.request is None:
            error, segment = failure.outcome.reason or "", answers.segment
            if origin.partition == SEVERAL and segment.partitions is not None:
                origin = Origin(origin.name, segment.partitions[place])
            self.breaker.failed((origin, segment.ids[place]), error)
            if self.breaker.is_paused:
                request = WaitRequest(error, self.breaker.remaining(), None)
                answers.failures[place] = Failure(failure.outcome, request)
        elif _has_succeeded(answers, place):
            self.breaker.succeeded()
        else:
            self.breaker.answered()

    def ended_together(self, members: Sequence[tuple[Origin, Answers, int]]) -> None:
        """Note the answer of one call for several records, each with its index, as `ended` does.

        If it handled any of them, the call has succeeded, and what failed is the fault of the other records.
        """
        succeeded = [member for member in members if _has_succeeded(*member[1:])]
        for origin, answers, place in succeeded[:1] or members:
            self.ended(origin, answers, place)


def _has_succeeded(answers: Answers, place: int) -> bool:
    outcome = answers.ends.get(place)
    return place not in answers.failures and (outcome is None or outcome.cause is None)
