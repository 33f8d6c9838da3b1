"""Calls a service that takes lists for records of one or more segments."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from metroline.agents.stops.bounded_calls import Called
from metroline.agents.stops.containment import LoopBlocked
from metroline.agents.stops.service_run import ServiceRun
from metroline.routing.journeys.answers import StopPolicy
from metroline.routing.journeys.batch_answers import (
    Handed,
    blocked_together,
    raised_together,
    returned_together,
    timed_out_together,
)
from metroline.routing.records.service_view import Record

Member = tuple[ServiceRun, int]
"""A record of a batch: the run of its segment, and its index there."""


async def run_batch(members: Sequence[Member]) -> None:
    """Call the service once, for records that are all at its stop, and store the answer for each."""
    batch, told, records = _opened(members)
    if not batch:
        return
    run = members[0][0]
    policy, seconds, began = run.policy, run.policy.retries.timeout, time.perf_counter()
    assert run.calls is not None
    called = await run.calls.call(_handler(told), records, seconds)
    _store(batch, called, policy)
    retries = sum(one.answers.is_retry for one in batch)
    run.handling.add(len(batch) - retries, time.perf_counter() - began, is_retry=False)
    run.handling.add(retries, 0.0, is_retry=True)
    for one in {id(one): one for one, _ in members}.values():
        one.count_waits()


def _opened(members: Sequence[Member]) -> tuple[list[Handed], list[Member], list[Record]]:
    """Return the records that can be read: how to answer for them, their members, and what the service receives."""
    batch: list[Handed] = []
    told: list[Member] = []
    records: list[Record] = []
    for run, place in members:
        opened = run.answers.open(place)
        if opened is not None:
            known, record = opened
            run.answers.begin(run.clock(), place)
            run.answers.note_plan_fields(place, known)
            batch.append(Handed(run.answers, place, known, record))
            told.append((run, place))
            records.append(record)
    return batch, told, records


def _handler(members: Sequence[Member]) -> Callable[[Sequence[Record]], Any]:
    service = members[0][0].service
    ids = [run.id_of(place) for run, place in members] if service.takes_id else []
    metas = [run.meta_of(place) for run, place in members] if service.takes_meta else []
    return service.handler_of_all(ids, metas)


def _store(batch: Sequence[Handed], called: Called, policy: StopPolicy) -> None:
    if called.is_late:
        timed_out_together(batch, policy.retries.timeout)
    elif type(called.error) is LoopBlocked:
        blocked_together(batch, called.error, called.error.seconds)
    elif called.error is not None:
        raised_together(batch, called.error, policy)
    else:
        returned_together(batch, called.value, policy)
