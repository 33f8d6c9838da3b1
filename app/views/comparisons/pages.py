"""Comparisons of strategies for browsers: the last runs, one run as a report, several beside each other, and a form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from faust import web
from msgspec import Struct

from metroline.app.compare.comparison import Comparison
from metroline.app.compare.report import beside_each_other, figures, measurement, sections, style_below, verdict
from metroline.app.inputs.recent_records import MAX_BYTES, MAX_RECORDS, RecordsUsed
from metroline.app.markup.html import Markup, grid, markup, moment, number, tag
from metroline.app.markup.numbers import count, counted
from metroline.app.markup.times import iso
from metroline.app.operations.comparison_runs import RunState
from metroline.app.operations.comparisons import MAX_SECONDS
from metroline.app.views.access.forms import form
from metroline.routing.rules.network import Network
from metroline.routing.strategies import STRATEGIES

PATH = "/compare/"
START_PATH = f"{PATH}start/"
CANCEL_PATH = f"{PATH}cancel/"

LATEST = 3
"""Number of the last runs whose charts the list shows."""

MAX_BESIDE = 6
"""Number of runs that are shown beside each other."""

DEFAULT_RECORDS = 1_000

REPORT = "report"
"""The class of the elements that have the style of a report."""


class RunAnswer(Struct, frozen=True):
    """A comparison that was run on the line. Times are in seconds since the epoch."""

    id: str
    state: RunState
    by: str
    at: float
    updated: float
    started_from: str
    """`page` or `command`."""
    worker: str
    command: str
    strategies: list[str]
    chaining: bool
    rate: str
    asked: int
    records: RecordsUsed
    code: str
    rules_version: int | None
    machine: dict[str, str]
    step: str
    done: int
    total: int
    note: str
    comparison: Comparison | None
    """The results, as `metroline compare --json` writes them; null in a list, and until there are any."""


class StartState(Struct, frozen=True):
    """The facts that the form states about the line whose records are compared."""

    source: str
    stops: list[str]
    """The stops whose services are called again."""
    version: int
    """The version of the line's current rules, by which the comparison runs; 0 if it has none yet."""


def extra() -> Markup:
    """Return the styles and scripts of these pages."""
    return markup(
        [
            tag("style", style_below(REPORT)),
            tag("link", rel="stylesheet", href="/static/comparisons.css"),
            tag("script", type="module", src="/static/comparisons.js"),
        ]
    )


def list_page(
    request: web.Request, runs: Sequence[RunAnswer], latest: Sequence[RunAnswer], start: StartState
) -> Markup:
    """Return the page of all runs. `latest` are the last ones with their results."""
    running = next((run for run in runs if run.state is RunState.RUNNING), None)
    parts: list[object] = [tag("p", "The same records under each routing strategy: the cost of each, side by side.")]
    if running is not None:
        parts += [tag("h2", "Under way"), tag("p", _link(running), f", started by {running.by}"), _progress(running)]
    parts.append(tag("h2", "The last comparisons"))
    parts.append(_choice(runs) if runs else tag("p", "No comparison was run on this line yet."))
    if latest:
        parts += [tag("h2", "Their charts"), _charts(latest)]
    parts += [tag("h2", "Compare on recent records", id="start"), _start_form(request, start, running)]
    return markup(parts)


def _choice(runs: Sequence[RunAnswer]) -> Markup:
    """Return the table of the runs, in which some can be chosen to be shown beside each other."""
    rows = [
        [
            _box(run),
            _link(run),
            _state(run),
            _minute(run.at),
            run.by,
            number(run.records.count or run.asked),
            run.records.origin or "recent records",
            ", ".join(run.strategies) + (", also chained" if run.chaining else ""),
            f"at {run.rate}/s" if run.rate not in ("", "max") else "highest" if run.rate else "not measured",
            _rules(run),
            tag("code", run.code),
        ]
        for run in runs
    ]
    heads = ["Show", "Comparison", "State", "Started", "By", "Records#", "Of", "Strategies", "Rates", "Rules", "Code"]
    table = grid(heads, rows)
    if sum(run.state is RunState.DONE for run in runs) < 2:
        return table
    return tag(
        "form", table, tag("p", tag("button", "Show beside each other")), action=PATH, method="get", class_="runs"
    )


def _box(run: RunAnswer) -> Markup | None:
    if run.state is not RunState.DONE:
        return None
    return tag("input", type="checkbox", name_="runs", value=run.id, aria_label=f"show {run.id} beside others")


def _link(run: RunAnswer) -> Markup:
    return tag("a", run.id, href=f"{PATH}{run.id}/")


def _state(run: RunAnswer) -> str:
    return f"{run.state}: {run.note}" if run.note else str(run.state)


def _rules(run: RunAnswer) -> str:
    return "not published" if run.rules_version is None else f"version {run.rules_version}"


def run_page(request: web.Request, run: RunAnswer, network: Network | None) -> Markup:
    """Return one run in the look of a report. Without `network`, its map is left out."""
    back = tag("p", tag("a", "All comparisons", href=PATH))
    if run.comparison is None:
        return markup([_without_results(request, run), _facts_table(run), back])
    when = datetime.fromtimestamp(run.at, UTC)
    how = measurement(run.comparison.runs, run.command, when, _facts(run))
    report = [*sections(run.comparison, network), tag("footer", how)]
    return markup([tag("div", report, class_=REPORT), back])


def _without_results(request: web.Request, run: RunAnswer) -> list[object]:
    """Return how far a run is, or why it has no results."""
    if run.state is not RunState.RUNNING:
        return [tag("p", _state(run), class_="warning")]
    parts: list[object] = [tag("p", f"Started by {run.by}, ", moment(iso(run.at)), "."), _progress(run)]
    if run.worker:
        hidden = tag("input", type="hidden", name_="run", value=run.id)
        parts.append(form(request, CANCEL_PATH, hidden, tag("button", "Cancel")))
    return parts


def _progress(run: RunAnswer) -> Markup:
    """Return how far a run is. A script keeps it up to date, and loads the page again at its end."""
    known = {"max": run.total, "value": min(run.done, run.total)} if run.total else {}
    bar = tag("progress", f"{run.done} of {run.total}", aria_label="records of this step", **known)
    return tag("p", tag("span", progress_in_words(run), class_="step", aria_live="polite"), bar, data_run=run.id)


def progress_in_words(run: RunAnswer) -> str:
    """Return the step that is being done."""
    done = f": {count(run.done)} of {count(run.total)}" if run.total else f": {count(run.done)}" if run.done else ""
    return f"{run.step or 'starting'}{done}"


def _facts(run: RunAnswer) -> dict[str, str]:
    """Return what is to be known about a run beside its results."""
    used = run.records
    records = f"{counted(used.count, 'record')} of {used.origin}" if used.count else f"{counted(run.asked, 'record')}"
    if used.bytes:
        records += f", {used.bytes / 1_000_000:,.2f} MB"
    if used.first is not None and used.last is not None:
        records += f", from {_at(used.first)} to {_at(used.last)}"
    offsets = ", ".join(f"{partition}: {first} to {last}" for partition, (first, last) in used.places.items())
    facts = {
        "started by": f"{run.by}, {'on a page' if run.worker else 'with the command'}",
        "records": records,
        "offsets by partition": offsets,
        "left out": f"{counted(used.left_out, 'message')} without a record" if used.left_out else "",
        "rules": _rules(run) + (", the current one when it was started" if run.worker else ""),
        "code of the line": run.code,
        "worker": run.worker,
        **run.machine,
    }
    return {name: fact for name, fact in facts.items() if fact}


def _at(seconds: float) -> str:
    return (iso(seconds) or "an unknown time").replace("T", " ").replace("Z", " UTC")


def _minute(seconds: float) -> Markup:
    """Return a time to the minute."""
    at = iso(seconds) or ""
    return tag("time", f"{at[:16].replace('T', ' ')} UTC", datetime=at)


def _facts_table(run: RunAnswer) -> Markup:
    strategies = ", ".join(run.strategies) + (", also chained" if run.chaining else "")
    facts = {"strategies": strategies, **_facts(run)}
    return markup([tag("h2", "About it"), grid(["What", "Value"], facts.items()), tag("pre", run.command)])


def beside_page(runs: Sequence[RunAnswer]) -> Markup:
    """Return the charts of several runs beside each other, then what each of them found."""
    parts: list[object] = [tag("h2", "Charts"), _charts(runs)]
    for run in runs:
        if run.comparison is not None:
            found = [verdict(run.comparison), figures(run.comparison.runs)]
            parts += [tag("h2", _link(run), f", {_heading(run)}"), tag("div", found, class_=REPORT)]
    return markup([*parts, tag("p", tag("a", "All comparisons", href=PATH))])


def _charts(runs: Iterable[RunAnswer]) -> Markup:
    shown = {f"{run.id}: {_heading(run)}": run.comparison for run in runs if run.comparison is not None}
    return tag("div", beside_each_other(shown), class_=REPORT)


def _heading(run: RunAnswer) -> str:
    return f"{counted(run.records.count, 'record')}, {_rules(run)}, {_at(run.at)[:16]}"


def _start_form(request: web.Request, start: StartState, running: RunAnswer | None) -> Markup:
    if running is not None:
        return tag("p", f"{running.by} runs a comparison. Another one can be started when it has ended.")
    stops = ", ".join(start.stops)
    again = (
        f"The services of the line ({stops}) are called again with these records: a message that one of them sends, a "
        "payment that it makes or a row that it writes comes once more for each strategy."
    )
    kept_off = (
        "Nothing is written to the ends of the line, to its source or to its dead letters. The comparison runs on "
        "topics of its own, which are deleted afterwards, at low priority and for at most "
        f"{MAX_SECONDS / 60:g} minutes. With the highest rates, it sends as much as the strategies hold, on the "
        "machine and the brokers that the line uses, too."
    )
    by = f"version {start.version} of the rules, the current one" if start.version else "no rules: there are none yet"
    rules = tag("p", f"It runs by {by}.", class_=None if start.version else "warning")
    boxes = [_check(name, name, is_on=True) for name in STRATEGIES]
    parts = form(
        request,
        START_PATH,
        tag(
            "label",
            f"Number of the latest records of {start.source}, at most {count(MAX_RECORDS)} and {MAX_BYTES >> 20} MiB",
            tag("input", name_="records", type="number", min=1, max=MAX_RECORDS, value=DEFAULT_RECORDS, required=""),
        ),
        tag("fieldset", tag("legend", "Strategies"), boxes),
        tag(
            "fieldset",
            tag("legend", "Also measure"),
            _check("chaining", "with stops that hand records on in memory"),
            _check("rates", "the highest rate that each strategy holds, which takes some minutes more"),
        ),
        tag(
            "fieldset",
            tag("legend", "Services run"),
            tag("p", again),
            _check("services_run_again", "Call the services again", required=""),
        ),
        tag("button", "Start"),
        class_="start",
    )
    return markup([tag("p", kept_off), rules, parts])


def _check(name: str, text: str, *, is_on: bool = False, **attributes: object) -> Markup:
    box = tag("input", type="checkbox", name_=name, value="true", checked="" if is_on else None, **attributes)
    return tag("label", box, f" {text}", class_="check")


def refused(error: str) -> Markup:
    """Return why something was not done, with the way back."""
    return markup([tag("p", error, class_="warning"), tag("p", tag("a", "All comparisons", href=PATH))])
