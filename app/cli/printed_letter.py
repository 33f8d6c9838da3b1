"""Prints a dead letter for people: its cause, its way with times, each attempt, earlier replays, and the record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from metroline.app.cli.terminal import say
from metroline.app.markup.numbers import counted
from metroline.app.markup.text import escaped_json
from metroline.app.markup.times import iso
from metroline.app.operations.letter import Letter
from metroline.routing.addresses import SOURCE


def print_letter(letter: Letter) -> None:
    """Print everything that is known about a dead letter, and the commands that go on with it."""
    told = letter.as_json()
    say(f"dead letter {letter.id}, group {letter.group}", f"  {told['reason']}")
    for title, lines in _sections(letter, told):
        if lines:
            say("", title, *(f"  {line}" for line in lines))
    say("", f"record{', of which only a part was kept' if letter.is_cut else ''}")
    record = escaped_json(orjson.dumps(told["record"], option=orjson.OPT_INDENT_2).decode())
    say(*(f"  {line}" for line in record.splitlines()))
    say("", "next", *(f"  {line}" for line in _commands(letter)))


def _sections(letter: Letter, told: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    segment = letter.envelope.segments[0]
    yield "timeline (UTC)", list(_timeline(letter, told))
    stop = segment.attempts.stop if segment.attempts else SOURCE
    yield f"attempts at {stop}", list(_attempts(told))
    yield "replays before", list(_replays(told))
    yield "source message", list(_origin(told))


def _timeline(letter: Letter, told: dict[str, Any]) -> Iterator[str]:
    """Yield the events of a journey, each with its time and the seconds since it began."""
    entered, dead = told["entered"], told["settled"]
    events = [(entered, f"entered, by {told['strategy']}")]
    for stop in told["stops"]:
        rule = "" if stop["rule"] is None else f", by {_rule(stop['rule'])} of version {stop['version']}"
        events.append((stop["at"], f"{stop['stop']}{rule}"))
    hops = counted(told["bus_hops"], "hop")
    segment = letter.envelope.segments[0]
    for waits in [*segment.waited, *([segment.waits] if segment.waits else [])]:
        last = f", last at {waits.progress!r}" if waits.progress else ""
        events.append((waits.since, f"began to wait at {waits.stop}, {counted(waits.times, 'time')} in all{last}"))
    events.sort(key=lambda one: one[0])
    events.append((dead, f"dead after {hops} on the bus{_decided(letter)}"))  # its time has whole milliseconds only
    for at, event in events:
        yield f"{_time(at)}  {at - entered:>+10.3f} s  {event}"


def _rule(name: str) -> str:
    return f"the rule {name!r}"


def _decided(letter: Letter) -> str:
    outcome = letter.envelope.segments[0].outcome
    return "" if outcome is None or outcome.rule is None else f", by {_rule(outcome.rule)}"


def _attempts(told: dict[str, Any]) -> Iterator[str]:
    """Yield each attempt, with the calls that led to its exception below it."""
    traces = told["tracebacks"] + [[]] * len(told["attempts"])
    for number, (cause, trace) in enumerate(zip(told["attempts"], traces, strict=False), start=1):
        yield f"{number}. {cause}"
        yield from (f"     {call}" for call in trace)


def _replays(told: dict[str, Any]) -> Iterator[str]:
    for replay in told["replays"]:
        yield f"{_time(replay['at'])}  by {replay['by']}: it was dead for {replay['reason']}"
        if replay["before"] is not None:
            yield f"     edited; before that: {replay['before']}"


def _origin(told: dict[str, Any]) -> Iterator[str]:
    yield f"topic {told['topic']}, partition {told['partition']}, offset {told['offset']}"
    if told["key"] is not None:
        yield f"key {told['key']}"
    for name, value in told["headers"]:
        yield f"header {name}: {'' if value is None else value}"


def _commands(letter: Letter) -> Iterator[str]:
    if letter.is_replayable:
        yield f"metroline dead-letters replay {letter.id} --dry-run    # where it would go now"
        yield f"metroline dead-letters replay {letter.id}              # on its way again; --set FIELD=VALUE edits it"
    yield f"metroline dead-letters discard {letter.id} --reason TEXT"


def _time(at: float) -> str:
    return (iso(at) or "unknown time").replace("T", " ").rstrip("Z")
