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
from metroline.app.views.rule_uses import CountedBy, RuleUse
from metroline.routing.rules.explain import Explained
from metroline.routing.rules.meaning.difference import Difference, Meaning

SHOWN_MOVES = 50
"""Changes that the page shows."""

SHOWN_RULES = 1_000

EDITOR_ROWS = 24


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


class Draft(Struct, frozen=True):
    """A table and a record as they stand in the form."""

    table: str
    record: str


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
    verdict: str


class Answer(Struct, frozen=True, omit_defaults=True):
    """The answer about a table or a record. It has the parts that were asked for."""

    error: str | None = None
    problems: list[Problem] = []
    steps: list[Step] = []
    """The way of the record, if no service changes it."""
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
    return Step(
        one.after,
        [Tried(trial.rule, trial.holds, trial.verdict, trial.read) for trial in one.trials],
        one.verdict,
    )


def show(desk: RulesDesk, draft: Draft, answer: Answer | None) -> Markup:
    """Return the page as HTML: the answer, if something was asked, the form, unused rules, and the versions."""
    parts = [] if answer is None else [tag("section", _answer(answer), aria_label="Answer", role="status")]
    if not desk.version:
        parts.append(warning("No version yet. This worker routes nothing until there is one."))
    if desk.forecast is not None:
        parts.append(_forecast(desk.forecast, desk.versions))
    parts += [_form(draft, desk.version), rules_list(desk.rules, desk.counted_by), _versions(desk.versions)]
    return markup(parts)


def warning(text: object) -> Markup:
    return tag("p", text, class_="warning")


def show_version(page: VersionPage) -> Markup:
    """Return a version as HTML."""
    one = page.version
    facts = [f"published by {one.by}, ", moment(one.at), f": {one.why}" if one.why else None]
    return markup(
        [
            tag("p", facts),
            warning(f"Refused by this worker: {one.refused}") if one.refused else None,
            tag("h2", f"Changes to version {one.replaces}" if one.replaces else "The first version"),
            _diff(page.lines),
            tag("details", tag("summary", "as TOML"), tag("pre", page.text)),
        ]
    )


def _forecast(check: Check, versions: list[ShownVersion]) -> Markup:
    """Return the forecast of the current version beside what happened."""
    before = next((one.replaces for one in versions if one.current), 0)
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
    worst = check.differences[0]
    question = f" Roll back with metroline rules rollback {before}?" if before else ""
    said = f"{worst.what}: forecast {_share(worst.forecast)}, seen {_share(worst.seen)}.{question}"
    return markup([*parts, warning(said), tag("p", told), grid(["", "Forecast#", "Seen#"], rows)])


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _form(draft: Draft, version: int) -> Markup:
    table = tag(
        "textarea",
        # a browser takes the first line break of a textarea away
        Markup("\n"),
        draft.table,
        name_="table",
        id="table",
        rows=EDITOR_ROWS,
        spellcheck="false",
        aria_describedby="table-help",
    )
    record = tag("textarea", Markup("\n"), draft.record, name_="record", id="record", rows=4, spellcheck="false")
    told = (
        "See what the table would change: its problems by line, the records about which it decides differently, and "
        "the journeys and dead letters of this line. Nothing is published here: use metroline rules publish FILE "
        f"--replaces {version} --reason TEXT."
    )
    return tag(
        "form",
        tag("h2", tag("label", "Change the table", for_="table")),
        tag("p", told, id="table-help"),
        table,
        tag("h2", tag("label", "Try a record", for_="record")),
        tag("p", "If a JSON object stands here, its way by the table above is shown instead. No service is called."),
        record,
        tag("p", tag("button", "Check", type="submit")),
        method="post",
        action="/rules/",
        class_="desk",
    )


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
            tag("h2", f"Rules that never held: {count(never)} of {count(len(rules))}", id=RULES_LIST),
            tag("p", _counted(by)),
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


def _versions(versions: list[ShownVersion]) -> Markup:
    rows = [
        [
            tag("a", f"version {one.version}", href=f"/rules/{one.version}/"),
            moment(one.at),
            one.by,
            one.why,
            f"+{one.added} -{one.removed}",
            _remarks(one),
        ]
        for one in versions
    ]
    link = tag("p", tag("a", "The current rules as a table", href="/table/rules/"))
    return markup([tag("h2", "Versions"), link, grid(["Version", "Published", "By", "Reason", "Lines", ""], rows)])


def _remarks(one: ShownVersion) -> str:
    remarks = ["current"] if one.current else []
    remarks += [f"same as {one.same_as}"] if one.same_as is not None else []
    return ", ".join([*remarks, *(["refused"] if one.refused else [])])


def _answer(answer: Answer) -> Markup:
    parts: list[Any] = [tag("h2", "Answer")]
    if answer.error:
        parts.append(warning(answer.error))
    if answer.problems:
        parts += [tag("p", f"The table has {counted(len(answer.problems), 'problem')}."), _problems(answer.problems)]
    if answer.steps:
        parts.append(tag("ol", map(_step, answer.steps)))
    if answer.is_same:
        parts.append(tag("p", "This is the current table."))
    parts += map(warning, answer.warnings)
    if answer.lines:
        parts += [_meaning(answer.meaning), tag("details", tag("summary", "Lines"), _diff(answer.lines), open="open")]
    if answer.preview:
        parts.append(_preview(answer.preview))
    return markup(parts)


def _problems(problems: list[Problem]) -> Markup:
    rows = [
        [number(one.line), one.problem, [tag("code", one.text), tag("pre", one.place) if one.place else None]]
        for one in problems
    ]
    return grid(["Line#", "Problem", "Text"], rows)


def _step(step: Step) -> Markup:
    tried = [
        tag("li", "✔ " if one.holds else "· ", tag("b", one.rule), ": ", one.verdict, _read(one.read))
        for one in step.tried
    ]
    return tag("li", f"after {step.after}", tag("ul", tried), tag("p", "→ ", tag("b", step.verdict)))


def _read(values: dict[str, str]) -> str | None:
    return f" ({', '.join(f'{name}={value}' for name, value in values.items())})" if values else None


def _diff(lines: list[str]) -> Markup:
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
    return grid(["After", "Until now", "By this table", "Ends as", "Records#", "Supposed#", "Examples"], rows)


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
