"""Explains the way of one record rule by rule: which rules were tried, what they read, and which one held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from metroline.routing.addresses import SOURCE
from metroline.routing.errors import ConditionError, MetrolineError
from metroline.routing.outcome import Cause, Drop, Retry
from metroline.routing.records.fingerprints import fingerprint, matches
from metroline.routing.rules.stop_rules import StopRules
from metroline.routing.rules.table import RulesTable
from metroline.routing.service_errors import describe_error

MAX_VALUE_CHARACTERS = 60
"""Maximum number of characters of a value's JSON that are shown."""


class NotCalled(MetrolineError):
    """Raised by a handler that cannot call its service; the text says why."""


class NoAnswer(MetrolineError):
    """Raised by a handler whose service did not answer within its timeout, in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s")


@dataclass(frozen=True, slots=True)
class Trial:
    """One rule that was tried; `read` maps each field that it read to its value as JSON."""

    rule: str
    holds: bool
    verdict: str
    read: dict[str, str]


@dataclass(frozen=True, slots=True)
class Explained:
    """The decision after one stop: the rules that were tried, in order, and the next stop or the outcome."""

    after: str
    trials: tuple[Trial, ...]
    verdict: str
    sets: dict[str, str] = field(default_factory=dict)
    """The fields that the service at the stop set, with their values as JSON."""
    removes: tuple[str, ...] = ()
    """The fields that the service removed."""

    def as_json(self) -> dict[str, Any]:
        trials = [
            {"rule": trial.rule, "holds": trial.holds, "verdict": trial.verdict, "read": trial.read}
            for trial in self.trials
        ]
        changes = {"after": self.after, "sets": self.sets, "removes": list(self.removes)}
        return changes | {"tried": trials, "verdict": self.verdict}


def explain(
    rules: RulesTable, record: dict[str, Any], handlers: Mapping[str, Callable[[dict[str, Any]], Any]], max_hops: int
) -> Iterator[Explained]:
    """Follow a record through a rules table, for at most `max_hops` stops; yield the decision after each stop.

    `handlers` call the services by stop, each with a copy of the record. Their errors end the journey; `NotCalled` ends
    the explanation alone. A record passes a stop without a handler as it is.
    """
    after, before = SOURCE, record
    for _ in range(max_hops):
        decision = rules.decide(after, record)
        trials = tuple(_trials(rules.stop_rules(after), record))
        changes = _changes(before, record)
        if decision.outcome is not None:
            ending, reason = decision.outcome.ending.value, decision.outcome.reason
            yield Explained(after, trials, f"{ending}: {reason}" if reason else ending, *changes)
            return
        stop = str(decision.stop)
        yield Explained(after, trials, stop, *changes)
        after, before = stop, record
        handler = handlers.get(stop)
        if handler is not None:
            end, record = _handled(handler, orjson.loads(orjson.dumps(record)))
            if end is not None:
                yield Explained(stop, (), end)
                return
    yield Explained(after, (), f"dead: too_many_hops: {max_hops} stops visited")


def _changes(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the fields that were set, with their values as JSON, and the fields that were removed."""
    sets = {
        name: _shown(value)
        for name, value in after.items()
        if name not in before or fingerprint(value) != fingerprint(before[name])
    }
    return sets, tuple(name for name in before if name not in after)


def _handled(handler: Callable[[dict[str, Any]], Any], record: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Return the outcome, if the journey ends at the handler or cannot be followed, and the record that it returned."""
    try:
        result = handler(record)
    except NotCalled as error:
        return f"unknown: the service could not be called: {error}", record
    except NoAnswer as error:
        return f"dead: {Cause.TIMEOUT}: {error}", record
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a service may raise anything, and the explanation shows it
        return f"dead: {Cause.SERVICE_ERROR}: {describe_error(error)}", record
    if isinstance(result, Drop):
        return f"dropped: {result.reason}", record
    if isinstance(result, Retry):
        return f"unknown: the service asks for another attempt: {result.reason}", record
    if not isinstance(result, dict):
        return f"dead: {Cause.BAD_RETURN}: {type(result).__name__}, not a dict, Drop or Retry", record
    try:
        return None, orjson.loads(orjson.dumps(result))
    except TypeError as error:  # a base class of orjson.JSONEncodeError
        return f"dead: {Cause.NOT_ENCODABLE}: {error}", record


def _trials(stop_rules: StopRules, record: dict[str, Any]) -> Iterator[Trial]:
    for compiled in stop_rules.rules:
        rule, condition = compiled.rule, compiled.condition
        read = {name: _shown(record.get(name)) for name in rule.match}
        if not all(matches(value, record.get(name)) for name, value in rule.match.items()):
            yield Trial(rule.name, False, "match does not fit", read)
            continue
        if condition is not None:
            read |= {name: _shown(record.get(name)) for name in sorted(condition.reads or ())}
            if condition.reads is None:
                read["record"] = "the whole record"
            try:
                holds = condition.holds(record)
            except ConditionError as error:
                yield Trial(rule.name, False, f"rule_error: {error}", read)
                return
            if not holds:
                yield Trial(rule.name, False, f"{rule.when} does not hold", read)
                continue
        yield Trial(rule.name, True, "holds", read)
        return


def _shown(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= MAX_VALUE_CHARACTERS else text[: MAX_VALUE_CHARACTERS - 3] + "..."
