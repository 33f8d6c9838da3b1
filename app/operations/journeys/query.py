"""Queries for journeys: by their outcome, their stops, and by conditions in CEL on the record and the journey."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from metroline.app.operations.journeys.ended_journey import EndedJourney
from metroline.routing.errors import ConditionError, UsageError
from metroline.routing.outcome import Ending
from metroline.routing.rules.cel.values import Budget
from metroline.routing.rules.condition import Condition
from metroline.routing.rules.rule_meta import NO_META, rule_metas

JOURNEY = "journey"
"""The variable that holds the properties of the journey."""

MAX_CHARACTERS = 2_000
"""Maximum number of characters of a condition."""

MAX_OPERATIONS = 20_000
"""Number of operations that a condition may take for one journey."""


@dataclass(slots=True)
class Query:
    """A query, and what happened to it so far."""

    where: Condition | None = None
    outcome: Ending | None = None
    stop: str | None = None
    """A stop that the record visited."""
    failures: int = 0
    """Number of journeys for which the condition could not be evaluated."""
    failure: str = ""
    """The reason for the first of them."""
    _needs_record: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        reads = None if self.where is None else self.where.reads
        self._needs_record = self.where is not None and (reads is None or bool(reads - {JOURNEY}))

    @classmethod
    def of(cls, where: str = "", outcome: str = "", stop: str = "") -> Query:
        """Return the query that a person wrote, in which an empty text asks for nothing.

        Raise `UsageError` if the condition is no valid CEL, or there is no such outcome.
        """
        if len(where) > MAX_CHARACTERS:
            raise UsageError(f"the condition is {len(where)} characters long; at most {MAX_CHARACTERS} are allowed")
        if outcome and outcome not in list(Ending):
            raise UsageError(f"there is no outcome {outcome!r:.100}; there are {', '.join(Ending)}")
        try:
            condition = Condition.compile_once(where) if where.strip() else None
        except ConditionError as error:
            raise UsageError(f"the condition cannot be used: {error}") from error
        return cls(condition, Ending(outcome) if outcome else None, stop or None)

    def fits(self, journey: EndedJourney) -> bool:
        """Return whether a journey fits; one for which the condition cannot be evaluated does not."""
        outcome = journey.segment.outcome
        if self.outcome is not None and (outcome is None or outcome.ending is not self.outcome):
            return False
        if self.stop is not None and self.stop not in journey.segment.stops:
            return False
        return self.where is None or self._holds(self.where, journey)

    def _holds(self, condition: Condition, journey: EndedJourney) -> bool:
        segment = journey.segment
        try:
            record = orjson.loads(segment.lines[journey.place]) if self._needs_record else {}
        except ValueError:
            record = {}
        known = (record if isinstance(record, dict) else {}) | {JOURNEY: properties(journey)}
        metas = rule_metas(segment.metadata, segment.entered, len(segment.ids), condition.meta)
        meta = NO_META if metas is None else metas[journey.place]
        try:
            return condition.holds(known, meta, Budget(MAX_OPERATIONS))
        except ConditionError as error:
            self.failures += 1
            self.failure = self.failure or f"{journey.id}: {error}"
            return False


def properties(journey: EndedJourney) -> dict[str, Any]:
    """Return the properties of a journey that conditions can read as fields of `journey`."""
    segment, outcome = journey.segment, journey.segment.outcome
    failed = [*segment.retried, *([segment.attempts] if segment.attempts else [])]
    rules = [visit.rule for visit in segment.history if visit.rule is not None]
    return {
        "id": journey.id,
        "outcome": outcome and outcome.ending.value,
        "reason": outcome and outcome.reason,
        "cause": outcome and outcome.cause and outcome.cause.value,
        "stop": segment.last_stop,
        "stops": list(segment.stops),
        "rules": rules if outcome is None or outcome.rule is None else [*rules, outcome.rule],
        "versions": sorted({visit.version for visit in segment.history}),
        "strategy": journey.strategy,
        "seconds": max(0.0, journey.ended - segment.entered),
        "entered": segment.entered,
        "ended": journey.ended,
        "failed_attempts": sum(len(attempts.causes) for attempts in failed),
        "replans": len(segment.replans),
        "replays": segment.generation,
        "partition": journey.origin.partition,
    }
