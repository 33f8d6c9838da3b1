"""Says in one sentence whether all is well, the worst thing first. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Iterator

from metroline.agents.pulses.live_state import Level, LiveState, PlaceState, Trend, Verdict
from metroline.routing.addresses import service_address

LONG_SECONDS = 60.0
"""Age of the oldest waiting message from which a place is named."""

SILENT_NAMED_SECONDS = 120.0
"""Time for which a worker that fell silent is named. Later, it stands only among what changed."""

LATE_SECONDS = 180.0
"""Time after which a tick of a schedule is late. A worker that takes over needs less."""

NAMED = 3
"""Things of one kind that are named."""

Finding = tuple[Level, str]


def verdict_of(state: LiveState) -> Verdict:
    """Return the verdict on a state. Its own verdict is not read."""
    is_known = not all(worker.is_silent for worker in state.workers)
    kinds = (_unknown, *((_standing, _late, _lost, _piling, _failing, _differing) if is_known else ()))
    found = [finding for kind in kinds for finding in kind(state)]
    found.sort(key=lambda finding: finding[0] is not Level.BAD)  # which keeps the order otherwise
    if not found:
        return Verdict(Level.GOOD, _fine(state))
    return Verdict(found[0][0], found[0][1], tuple(text for _, text in found[1:]))


def _fine(state: LiveState) -> str:
    out = state.delivered_per_second + state.dropped_per_second + state.dead_per_second
    if not (state.entered_per_second or out or any(place.waiting for place in state.places.values())):
        return "All trains run. Nothing comes in, and nothing waits."
    flow = f"{rate(state.entered_per_second)} records/s in, {rate(out)}/s out"
    return f"All trains run. {flow}, nothing waits longer than {duration(state.oldest)}."


def _unknown(state: LiveState) -> Iterator[Finding]:
    if not state.workers:
        yield Level.BAD, "No worker has told its figures: it is not known how the line is."
        return
    if all(worker.is_silent for worker in state.workers):
        age = duration(min(worker.age for worker in state.workers))
        yield Level.BAD, f"No worker has told its figures for {age}: those below are out of date."
        return
    silent = [worker.url for worker in state.workers if worker.is_silent and worker.age < SILENT_NAMED_SECONDS]
    stale = [worker for worker in state.workers if worker.is_stale and not worker.is_silent]
    if silent and not all(worker.is_stale for worker in state.workers):
        lost = {part for worker in state.workers if worker.is_silent for part in worker.parts} - _played(state)
        yield Level.NOTICE, f"{_some(silent)} fell silent{'' if lost else '; others take over what it did'}."
    if stale:
        age = duration(max(worker.age for worker in stale))
        have = "has" if len(stale) == 1 else "have"
        yield Level.BAD, f"{_some([one.url for one in stale])} {have} told nothing for {age}: figures are out of date."


def _played(state: LiveState) -> set[str]:
    """Return the parts of the line that some worker plays."""
    return {part for worker in state.workers if not worker.is_silent for part in worker.parts}


def _standing(state: LiveState) -> Iterator[Finding]:
    for address, place in state.places.items():
        if place.paused:
            yield Level.BAD, f"The stop {_name(address)} is paused: {place.paused}."
    for address in state.unserved:
        waiting = state.places[address].waiting if address in state.places else 0
        what = f", where {_records(waiting)} wait" if waiting else ": records that come there wait"
        yield Level.BAD, f"No worker serves {_name(address)}{what}."
    for worker in state.workers:
        if worker.problems and not worker.is_silent:
            yield Level.BAD, f"{worker.url} is not ready: {'; '.join(worker.problems)}."


def _late(state: LiveState) -> Iterator[Finding]:
    late = [one for one in state.schedules if one.next is not None and state.at - one.next > LATE_SECONDS]
    for one in late[:NAMED]:
        due = duration(state.at - (one.next or 0))
        yield Level.BAD, f"The schedule {one.name} has been due for {due}, and its record did not enter."
    failed = [one.name for one in state.schedules if one.result == "dead"]
    if failed:
        yield Level.NOTICE, f"The last run of {_some(failed)} is a dead letter."


def _lost(state: LiveState) -> Iterator[Finding]:
    if state.sums.unaccounted:
        yield Level.BAD, f"{_records(state.sums.unaccounted)} have no outcome and are nowhere under way."
    if state.sums.lost:
        yield Level.NOTICE, f"{state.sums.lost:,} messages of the source were deleted before they were read."


def _piling(state: LiveState) -> Iterator[Finding]:
    growing = [(address, place) for address, place in state.places.items() if place.trend is Trend.GROWING]
    for address, place in sorted(growing, key=_most)[:NAMED]:
        since = f" for {duration(state.at - place.since)}" if place.since is not None else ""
        yield Level.NOTICE, f"{_records(place.waiting)} wait at {_name(address)}, and their number has grown{since}."
    others = [(address, place) for address, place in state.places.items() if place.trend is not Trend.GROWING]
    for address, place in sorted(others, key=_most)[:NAMED]:
        if place.oldest >= LONG_SECONDS:
            done = f"; caught up in about {duration(place.caught_up_in)}" if place.caught_up_in is not None else ""
            yield (
                Level.NOTICE,
                f"{_name(address).capitalize()} has records that wait for {duration(place.oldest)}{done}.",
            )


def _failing(state: LiveState) -> Iterator[Finding]:
    failing = [one for one in state.failures if one.per_second > 0]
    if failing:
        causes = _some([f"{one.cause} at {_name(service_address(one.stop))}" for one in failing])
        yield Level.NOTICE, f"Records fail, {rate(sum(one.per_second for one in failing))}/s: {causes}."


def _differing(state: LiveState) -> Iterator[Finding]:
    alive = [worker for worker in state.workers if not worker.is_silent]
    versions = sorted({worker.version for worker in alive})
    if len(versions) > 1:
        yield Level.NOTICE, f"Workers decide by different rules: versions {', '.join(map(str, versions))}."
    if len({worker.code for worker in alive}) > 1:
        yield Level.NOTICE, "Workers run different code of the line."


def _name(address: str) -> str:
    is_stop = address.startswith(service_address(""))
    return address.removeprefix(service_address("")) if is_stop else f"the {address.replace('-', ' ')}"


def _most(item: tuple[str, PlaceState]) -> float:
    return -item[1].oldest


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"


def rate(per_second: float) -> str:
    """Return a rate as people read it."""
    return f"{per_second:,.0f}" if per_second >= 10 or per_second == 0 else f"{per_second:.1f}"


def duration(seconds: float) -> str:
    """Return a length of time as people read it."""
    if 0 < seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.0f} h"
