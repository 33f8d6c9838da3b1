"""Prints the preview of a rules table: sums, changes with examples, the load of each stop, and what is unseen."""

from __future__ import annotations

from collections.abc import Iterator

from metroline.app.cli.console import print_rows
from metroline.app.cli.terminal import say
from metroline.app.markup.numbers import counted, percent
from metroline.app.preview.preview import Load, Move, Preview, Sums

MAX_ROWS = 20
"""Number of changes that are printed; --json writes all of them."""

MOVES = ("after", "until now", "by the new table", "ends as", "records", "supposed", "examples")
LOAD = ("stop", "visits until now", "visits by the new table", "")


def print_preview(preview: Preview) -> None:
    """Print a preview as text and tables."""
    say(*_sentences(preview))
    _print_moves("journeys that go another way", preview.moves)
    _print_moves("dead letters that go another way", preview.letter_moves)
    _print_moves("records under way that go another way", preview.under_way_moves)
    if any(one.before != one.after for one in preview.load):
        say("")
        rows = [
            dict(zip(LOAD, (load.stop, f"{load.before:,}", f"{load.after:,}", _remark(load)), strict=True))
            for load in preview.load
        ]
        print_rows("load of the stops", LOAD, rows, numbers=LOAD[1:3])
    if preview.not_decided or preview.unseen:
        say("", "not seen:")
    for undecided in preview.not_decided:
        records = counted(undecided.count, "record")
        say(f"  {records} after {undecided.after}, such as {undecided.example}: {undecided.reason}")
    say(*(f"  {what}" for what in preview.unseen))


def _sentences(preview: Preview) -> Iterator[str]:
    sums = preview.journeys
    yield (
        f"{counted(sums.seen, 'journey')}: {sums.unchanged:,} go the same way, {sums.changed:,} "
        f"({percent(sums.changed, sums.seen)}) another one, {sums.not_decided:,} are not decided"
    )
    yield from _kinds(sums)
    letters = preview.letters
    if letters.seen:
        yield f"{counted(letters.seen, 'dead letter')}: {letters.delivered:,} would go through now"
    waiting = preview.under_way
    if waiting.seen:
        yield f"{counted(waiting.seen, 'record')} under way: {waiting.changed:,} would go another way, as they are now"
        yield from _kinds(waiting)
    if preview.starved:
        yield f"stops that no journey visits any more: {', '.join(preview.starved)}"


def _kinds(sums: Sums) -> Iterator[str]:
    kinds = {
        "newly delivered": sums.delivered,
        "newly dropped": sums.dropped,
        "newly dead letters, since no rule holds": sums.unroutable,
        "newly dead letters for another reason": sums.failing,
        "coming back to a stop again and again, unless a service changes them": sums.looping,
    }
    for kind, count in kinds.items():
        if count:
            yield f"  {count:,} ({percent(count, sums.seen)}) {kind}"


def _print_moves(title: str, moves: list[Move]) -> None:
    if not moves:
        return
    rows = [dict(zip(MOVES, _row(move), strict=True)) for move in moves[:MAX_ROWS]]
    say("")
    print_rows(title, MOVES, rows, numbers=("records", "supposed"))
    if len(moves) > MAX_ROWS:
        say(f"and {len(moves) - MAX_ROWS} more changes: --json writes all of them", err=True)


def _row(move: Move) -> tuple[str, ...]:
    return (
        move.after,
        _with_rule(move.before, move.rule_before),
        _with_rule(move.to, move.rule),
        move.outcome,
        f"{move.count:,}",
        f"{move.supposed:,}",
        " ".join(move.examples),
    )


def _with_rule(to: str, rule: str | None) -> str:
    return to if rule is None else f"{to} ({rule})"


def _remark(load: Load) -> str:
    if load.before and not load.after:
        return "no record any more"
    return "new" if load.after and not load.before else ""
