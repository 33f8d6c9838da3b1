"""Prints a journey for people: each place with its times, each failed attempt, and what sent the record on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from metroline.app.cli.terminal import say
from metroline.app.markup.numbers import counted
from metroline.app.markup.text import escaped_json
from metroline.app.markup.times import iso
from metroline.routing.journeys.timeline import Certainty, Decided, Passage, Timeline

LINE_BREAK = re.compile(r"\s*\n\s*")
"""A line break in a condition, with the spaces around it."""

NOTES = {
    Certainty.UNCHANGED: "the values did not change between the source and the end",
    Certainty.LATER: "the values are those at the end of the journey",
    Certainty.CHANGED: "the values that the rules read have changed since, and are not known",
    Certainty.UNKNOWN: "what the rules read is not known any more",
}
"""Remarks about values that are not exactly known."""


def print_journey(journey: Timeline) -> None:
    """Print a journey."""
    reason = f": {journey.reason}" if journey.reason else ""
    say(f"{journey.id} was {_ending(journey)} after {journey.seconds:,.3f} s{reason}")
    say(f"  entered {_time(journey.entered)} UTC, ended {_time(journey.ended)} UTC")
    say(f"  {journey.strategy}, {counted(journey.bus_hops, 'hop')} on the bus")
    for replay in journey.replays:
        edited = ", edited" if replay.was_edited else ""
        say(f"  replayed {_time(replay.at)} UTC by {replay.by}{edited}; it was dead for {replay.reason}")
    for place in journey.places:
        say("", *_place(place, journey.entered))
    say("", f"record{', of which only the beginning was kept' if journey.is_cut else ''}")
    record = escaped_json(orjson.dumps(journey.record, option=orjson.OPT_INDENT_2).decode())
    say(*(f"  {line}" for line in record.splitlines()))


def _ending(journey: Timeline) -> str:
    return "a dead letter" if journey.outcome == "dead" else journey.outcome


def _place(place: Passage, entered: float) -> Iterator[str]:
    """Yield the lines about a place; times are seconds since the record entered."""
    times = [
        None if place.came is None else f"came {place.came - entered:+,.3f} s",
        None if place.waited is None else f"waited {place.waited:,.3f} s",
        None if place.worked is None else f"worked {place.worked:,.3f} s",
        f"left {place.left - entered:+,.3f} s",
    ]
    yield f"{place.place}: {', '.join(filter(None, times))}"
    for number, attempt in enumerate(place.attempts, 1):
        at = "" if attempt.at is None else f" at {attempt.at - entered:+,.3f} s"
        yield f"  attempt {number} failed{at}: {attempt.cause}"
        yield from (f"      {call}" for call in attempt.calls)
    if place.waits is not None:
        waits = counted(place.waits.times, "time")
        yield f"  asked to wait, {waits}, first at {place.waits.since - entered:+,.3f} s"
    if place.replanned is not None:
        yield f"  made its plan stale: it changed {', '.join(place.replanned) or 'a field'}"
    yield from _decision(place.decided)


def _decision(decided: Decided) -> Iterator[str]:
    rule = "" if decided.rule is None else f" by the rule {decided.rule!r}"
    version = "" if not decided.version else f" of version {decided.version}"
    if decided.rule is None and decided.version:
        version = f", by version {decided.version} of the rules"
    by = f", decided by {decided.by}" if decided.by else ""
    if decided.more_tried:
        yield f"  · {counted(decided.more_tried, 'rule')} before these did not hold"
    for tried in decided.tried:
        read = ", ".join(f"{name}={value}" for name, value in tried.read.items())
        verdict = LINE_BREAK.sub(" ", tried.verdict)
        yield f"  {'✔' if tried.holds else '·'} {tried.rule}: {verdict}" + (f"  ({read})" if read else "")
    if decided.certainty in NOTES and (decided.tried or decided.rule is not None):
        yield f"  ({NOTES[decided.certainty]})"
    yield f"  → {decided.to}{rule}{version}{by}"


def _time(at: float) -> str:
    return (iso(at) or "unknown time").replace("T", " ").rstrip("Z")
