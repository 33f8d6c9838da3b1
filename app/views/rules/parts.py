"""The parts of the page of the rules, as data for programs and as HTML for browsers."""

from __future__ import annotations

from typing import Any

import orjson
from msgspec import Struct

from metroline.app.markup.html import Markup, grid, markup, moment, number, tag
from metroline.app.markup.numbers import count, counted, percent
from metroline.app.markup.times import iso
from metroline.app.operations.rules_history import PastVersion
from metroline.app.preview.forecasts import Check
from metroline.app.preview.preview import Load, Move, Preview, Sums
from metroline.app.views.anchors import RULES_LIST, rule_id
from metroline.app.views.rules.uses import CountedBy, RuleUse
from metroline.routing.rules.explain import Explained
from metroline.routing.rules.meaning.difference import Difference, Meaning

SHOWN_MOVES = 50
"""Changes that the page shows."""

MAX_TRIED = 100
"""Number of the rules that were tried after one stop and are listed."""

MAX_CHARACTERS = 1_000
"""Length of what is said about one rule, and of a line of a table beside its problem."""

SHOWN_RULES = 1_000


class ShownVersion(Struct, frozen=True):
    """A version as the list shows it."""

    version: int
    replaces: int
    by: str
    at: str | None
    why: str
    """The reason that was given for it; empty if none was."""
    rules: int | None
    added: int
    removed: int
    same_as: int | None
    current: bool
    refused: str | None
    """The reason why this worker refused it; None if it did not."""


class RulesDesk(Struct, frozen=True):
    """The rules as a worker knows them."""

    version: int
    """The current version; 0 until there is one."""
    text: str
    versions: list[ShownVersion]
    rules: list[RuleUse]
    counted_by: CountedBy
    forecast: Check | None
    """The forecast of the current version beside what was seen since, by the journeys that the workers hold."""


class Problem(Struct, frozen=True):
    """A problem of a table, its line from 1 on, the text of this line, and further lines that show the place."""

    line: int | None
    problem: str
    text: str | None
    place: str


class Tried(Struct, frozen=True):
    """A rule that was tried."""

    rule: str
    holds: bool
    verdict: str
    read: dict[str, str]


class Step(Struct, frozen=True):
    """The decision after one stop."""

    after: str
    tried: list[Tried]
    """The rules that were tried, up to the one that decided; of many, the last ones."""
    verdict: str
    left_out: int = 0
    """Number of rules that were tried before these."""


class Meanwhile(Struct, frozen=True):
    """The version that was published since a table was made from another one."""

    version: int
    made_from: int
    """The version from which the table was made."""
    by: str
    at: str | None
    why: str
    lines: list[str]
    """The changes since then, as the lines of a unified diff; empty if they are not known."""


class Answer(Struct, frozen=True, omit_defaults=True):
    """The answer about a table or a record. It has the parts that were asked for."""

    error: str | None = None
    problems: list[Problem] = []
    problem_count: int = 0
    """Number of all problems: a long list is cut."""
    steps: list[Step] = []
    """The way of the record, if no service changes it."""
    live_steps: list[Step] = []
    """Its way by the current version, if the table is another one."""
    meanwhile: Meanwhile | None = None
    is_same: bool = False
    """True if the table is the current one."""
    lines: list[str] = []
    """The difference from the current version, as the lines of a unified diff."""
    warnings: list[str] = []
    meaning: Meaning | None = None
    preview: Preview | None = None


class VersionPage(Struct, frozen=True):
    """One version, with the lines by which it differs from the one before it."""

    version: ShownVersion
    lines: list[str]
    text: str


def version_of(one: PastVersion, *, is_current: bool, refused: str | None) -> ShownVersion:
    """Return a version as the list shows it."""
    return ShownVersion(
        one.version,
        one.replaces,
        one.by,
        iso(one.at),
        one.reason,
        one.rules,
        one.added,
        one.removed,
        one.same_as,
        is_current,
        refused,
    )


def step_of(one: Explained) -> Step:
    """Return a decision with the rules that were tried."""
    last = one.trials[-MAX_TRIED:]
    tried = [Tried(trial.rule, trial.holds, trial.verdict[:MAX_CHARACTERS], trial.read) for trial in last]
    return Step(one.after, tried, one.verdict, len(one.trials) - len(last))


def warning(text: object) -> Markup:
    return tag("p", text, class_="warning")


def show_version(page: VersionPage) -> Markup:
    """Return a version as HTML."""
    one = page.version
    facts = [f"published by {one.by}, ", moment(one.at), f": {one.why}" if one.why else None]
    return markup(
        [
            tag("p", facts),
            None if one.current else tag("p", rollback_link(one.version)),
            warning(f"Refused by this worker: {one.refused}") if one.refused else None,
            tag("h2", f"Changes to version {one.replaces}" if one.replaces else "The first version"),
            show_diff(page.lines),
            tag("details", tag("summary", "as TOML"), tag("pre", page.text)),
        ]
    )


def broken_forecast(check: Check) -> str:
    """Return where what happened is furthest from the forecast; empty if all is as forecast, or too little is known."""
    if not check.is_enough or not check.differences:
        return ""
    worst = check.differences[0]
    return f"{worst.what}: forecast {_share(worst.forecast)}, seen {_share(worst.seen)}."


def show_forecast(check: Check, way_back: Markup) -> Markup:
    """Return the forecast of the current version beside what happened, and where it does not hold, the way back."""
    told = [f"Made from {counted(check.forecast.journeys, 'journey')}; {counted(check.seen, 'journey')} seen since. "]
    if check.missing:
        told.append(f"Without those of {', '.join(check.missing)}, which gave no answer. ")
    parts = [tag("h2", "Forecast of the current version")]
    if not check.is_enough:
        return markup([*parts, tag("p", told, "Too few to compare.")])
    if not check.differences:
        return markup([*parts, tag("p", told, "All is as forecast.")])
    rows = [
        [one.what, number(_share(one.forecast)), number(_share(one.seen))] for one in check.differences[:SHOWN_MOVES]
    ]
    said = warning(broken_forecast(check))
    return markup([*parts, said, way_back, tag("p", told), grid(["", "Forecast#", "Seen#"], rows)])


def rollback_link(version: int) -> Markup:
    """Return the link to the page on which a version is published again."""
    return tag("a", f"Roll back to version {version}", href=f"/rules/{version}/rollback/", class_="button")


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def rules_list(rules: list[RuleUse], by: CountedBy) -> Markup:
    """Return the rules in order, each with how often it held and at a place of its own, to which other pages lead."""
    if not rules:
        return Markup()
    never = sum(not rule.held for rule in rules)
    rows = [
        [tag("span", rule.rule, id=rule_id(rule.rule)), rule.after, number(rule.held), "" if rule.held else "never"]
        for rule in rules[:SHOWN_RULES]
    ]
    return markup(
        [
            tag("h2", "How often each rule held", id=RULES_LIST),
            tag("p", f"{count(never)} of {counted(len(rules), 'rule')} never held. " if never else None, _counted(by)),
            grid(["Rule", "After", "Held#", ""], rows, class_="rules"),
        ]
    )


def _counted(by: CountedBy) -> list[object]:
    """Return a few sentences on what is counted."""
    who = f"by {counted(by.workers, 'worker')}" if by.workers else "by this worker alone"
    told: list[object] = [f"Counted {who}, by the names of the rules, for records that ended since "]
    told.append("the start" if by.since is None else moment(iso(by.since)))
    told.append(" at the earliest: a worker counts from its start.")
    if not by.is_complete:
        told.append(" Workers tell only of the rules that hold most, so that one with 0 may have held now and then.")
    return told


def show_versions(versions: list[ShownVersion]) -> Markup:
    rows = [
        [
            tag("a", f"version {one.version}", href=f"/rules/{one.version}/"),
            moment(one.at),
            one.by,
            one.why,
            f"+{one.added} -{one.removed}",
            _remarks(one),
            None if one.current else rollback_link(one.version),
        ]
        for one in versions
    ]
    link = tag("p", tag("a", "The current rules as a table", href="/table/rules/"))
    return markup(
        [
            tag("h2", "Versions"),
            link,
            grid(["Version", "Published", "By", "Reason", "Lines", "State", "Roll back"], rows),
        ]
    )


def _remarks(one: ShownVersion) -> str:
    remarks = ["current"] if one.current else []
    remarks += [f"same as {one.same_as}"] if one.same_as is not None else []
    return ", ".join([*remarks, *(["refused"] if one.refused else [])])


def show_answer(answer: Answer) -> Markup:
    parts: list[Any] = [tag("h2", "Answer")]
    if answer.error:
        parts.append(tag("p", answer.error, class_="warning", role="alert"))
    if answer.meanwhile:
        parts.append(_newer(answer.meanwhile))
    if answer.problems:
        parts += [tag("p", _told(answer)), _problems(answer.problems)]
    if answer.steps:
        parts.append(_ways(answer.steps, answer.live_steps))
    if answer.is_same:
        parts.append(tag("p", "This is the current table."))
    parts += map(warning, answer.warnings)
    if answer.lines:
        parts += [
            _meaning(answer.meaning),
            tag("details", tag("summary", "Lines"), show_diff(answer.lines), open="open"),
        ]
    if answer.preview:
        parts.append(_preview(answer.preview))
    return markup(parts)


def _told(answer: Answer) -> str:
    more = f" These are the first {count(len(answer.problems))}." if answer.problem_count > len(answer.problems) else ""
    return f"The table has {counted(max(answer.problem_count, len(answer.problems)), 'problem')}.{more}"


def _problems(problems: list[Problem]) -> Markup:
    rows = [
        [number(one.line), one.problem, [tag("code", one.text), tag("pre", one.place) if one.place else None]]
        for one in problems
    ]
    return grid(["Line#", "Problem", "Text"], rows)


def _newer(one: Meanwhile) -> Markup:
    told = [
        f"Version {one.version} was published meanwhile, by {one.by}, ",
        moment(one.at),
        f": {one.why}." if one.why else ".",
        f" This table was made from version {one.made_from}, and is now held against version {one.version}: it takes "
        "the changes of that version back, unless you make them here, too.",
    ]
    changes = tag("details", tag("summary", f"Changes of version {one.version}"), show_diff(one.lines), open="open")
    return markup([tag("p", told, class_="warning"), changes if one.lines else None])


def _ways(steps: list[Step], live: list[Step]) -> Markup:
    """Return the way of a record, and the one by the current version beside it."""
    if not live:
        return tag("ol", map(_step, steps))
    parted = next((one.after for one, other in zip(steps, live, strict=False) if one.verdict != other.verdict), None)
    told = "Both tables take the record the same way." if parted is None else f"The ways part after {parted}."
    columns = [
        tag("section", tag("h3", title), tag("ol", map(_step, way)))
        for title, way in (("By the table above", steps), ("By the current version", live))
    ]
    return markup([tag("p", tag("strong", told)), tag("div", columns, class_="ways")])


def _step(step: Step) -> Markup:
    tried = [
        tag("li", "✔ " if one.holds else "· ", tag("b", one.rule), ": ", one.verdict, _read(one.read))
        for one in step.tried
    ]
    if step.left_out:
        tried.insert(0, tag("li", f"{counted(step.left_out, 'rule')} before these did not hold"))
    return tag("li", f"after {step.after}", tag("ul", tried), tag("p", "→ ", tag("b", step.verdict)))


def _read(values: dict[str, str]) -> str | None:
    return f" ({', '.join(f'{name}={value}' for name, value in values.items())})" if values else None


def show_diff(lines: list[str]) -> Markup:
    names = {"+": "added", "-": "removed"}
    shown = [tag("span", line, "\n", class_=names.get(line[:1])) for line in lines]
    return tag("pre", shown or "no line differs", class_="diff")


def _meaning(meaning: Meaning | None) -> Markup:
    if meaning is None:
        return Markup()
    if meaning.is_none:
        return tag("p", "Every record is decided alike: this is proven.")
    rows = [_difference(one) for one in meaning.differences]
    open_stops = [
        tag("p", f"Not proven to be alike: the rules after {stop} differ, and no record shows it.")
        for stop in meaning.not_proven
    ]
    return markup(
        [
            tag("h3", "Decided differently"),
            grid(["After", "The smallest record", "Current version", "This table"], rows) if rows else None,
            open_stops,
        ]
    )


def _difference(one: Difference) -> list[object]:
    record = [tag("code", orjson.dumps(one.record).decode())]
    if one.meta:
        record.append(tag("code", f"meta: {orjson.dumps(one.meta).decode()}"))
    return [one.after, record, _by(one.before, one.rule_before), _by(one.to, one.rule)]


def _by(to: str, rule: str | None) -> str:
    return to if rule is None else f"{to} ({rule})"


def _preview(preview: Preview) -> Markup:
    return markup(
        [
            tag("h3", f"For {counted(preview.journeys.seen, 'journey')} of this line"),
            _sums(preview.journeys),
            _moves(preview.moves),
            tag("h3", f"For {counted(preview.letters.seen, 'dead letter')}") if preview.letters.seen else None,
            tag("p", f"{count(preview.letters.delivered)} would go through now.") if preview.letters.seen else None,
            _moves(preview.letter_moves),
            tag("h3", f"For {counted(preview.under_way.seen, 'record')} under way") if preview.under_way.seen else None,
            _sums(preview.under_way) if preview.under_way.seen else None,
            _moves(preview.under_way_moves),
            _loads(preview.load),
            tag("h3", "Not seen"),
            tag("ul", [tag("li", one) for one in _unseen(preview)]),
        ]
    )


def _sums(sums: Sums) -> Markup:
    facts = {
        "go another way": sums.changed,
        "newly delivered": sums.delivered,
        "newly dropped": sums.dropped,
        "newly unroutable": sums.unroutable,
        "newly dead otherwise": sums.failing,
        "loop": sums.looping,
        "not decided": sums.not_decided,
    }
    shown = [
        tag("div", tag("dt", name), tag("dd", f"{count(value)} ({percent(value, sums.seen)})"))
        for name, value in facts.items()
        if value or name == "go another way"
    ]
    return tag("dl", shown)


def _moves(moves: list[Move]) -> Markup:
    if not moves:
        return Markup()
    rows = [
        [
            one.after,
            _by(one.before, one.rule_before),
            _by(one.to, one.rule),
            one.outcome,
            number(one.count),
            number(one.supposed),
            [tag("code", example) for example in one.examples],
        ]
        for one in moves[:SHOWN_MOVES]
    ]
    table = grid(["After", "Until now", "By this table", "Ends as", "Records#", "Supposed#", "Examples"], rows)
    note = (
        "Supposed: those whose further way depends on what services do, or on a record that is not known for certain."
    )
    return markup([table, tag("p", note, class_="note")])


def _loads(loads: list[Load]) -> Markup:
    if all(one.before == one.after for one in loads):
        return Markup()
    rows = [[one.stop, number(one.before), number(one.after), _starved(one)] for one in loads]
    return markup([tag("h3", "Load of the stops"), grid(["Stop", "Until now#", "By this table#", ""], rows)])


def _starved(load: Load) -> str:
    return "no record any more" if load.before and not load.after else ""


def _unseen(preview: Preview) -> list[str]:
    undecided = [
        f"{counted(one.count, 'record')} after {one.after}, such as {one.example}: {one.reason}"
        for one in preview.not_decided
    ]
    return [*undecided, *preview.unseen]
