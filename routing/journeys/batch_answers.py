"""Answers of a service that was called for several records at once, each stored for its own record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from metroline.routing.foreign_values import is_of, name_of_type, plain_list
from metroline.routing.journeys.answers import Answers, StopPolicy
from metroline.routing.outcome import Cause, Outcome


class Handed(NamedTuple):
    """A record that was handed to a service together with others."""

    answers: Answers
    place: int
    """Index of the record in its segment."""
    known: dict[str, Any]
    """The known fields of the record, as `Answers.open` returned them."""
    record: Any
    """The record that the service received, which it may have changed."""


def returned_together(batch: Sequence[Handed], result: Any, policy: StopPolicy) -> None:
    """Store the value that the service returned: a list with an answer for each record, in the order of the records.

    An exception among the answers counts as raised for its record alone. If the value is no such list, all records end
    as `bad_return`, since it is not known which answer belongs to which record.
    """
    answers = plain_list(result) if is_of(result, list) or is_of(result, tuple) else None
    if answers is None:
        _end_all(batch, f"{name_of_type(result)}, not a list with an answer for each record of the batch")
    elif len(answers) != len(batch):
        _end_all(batch, f"{len(answers)} answers for {len(batch)} records: return one for each, in their order")
    else:
        for one, answer in zip(batch, answers, strict=True):
            if is_of(answer, BaseException):
                one.answers.raised(one.place, answer, policy)
            else:
                one.answers.returned(one.place, one.known, answer, one.record)


def raised_together(batch: Sequence[Handed], error: BaseException, policy: StopPolicy) -> None:
    """Store an exception of the service, which counts as raised for each record."""
    for one in batch:
        one.answers.raised(one.place, error, policy)


def timed_out_together(batch: Sequence[Handed], seconds: float) -> None:
    """Store that the service did not answer within `seconds`."""
    for one in batch:
        one.answers.timed_out(one.place, seconds)


def blocked_together(batch: Sequence[Handed], error: BaseException, seconds: float) -> None:
    """Store that the service was interrupted, as `Answers.blocked` does."""
    for one in batch:
        one.answers.blocked(one.place, error, seconds)


def _end_all(batch: Sequence[Handed], problem: str) -> None:
    outcome = Outcome.dead(Cause.BAD_RETURN, problem)
    for one in batch:
        one.answers.ends[one.place] = outcome
