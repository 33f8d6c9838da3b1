"""The first page: whether all is well, the line as a map with its live figures, and what stands behind them.

All of it is there without a script; `static/first_page.js` keeps it up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from metroline.agents.membership.worker import WorkerInfo
from metroline.agents.pulses.live_state import Level, LiveEvent, LiveState, Point, ScheduleState, Verdict, WorkerState
from metroline.agents.pulses.verdict import duration, rate, rounded
from metroline.app.markup.html import Markup, grid, moment, number, table_row, tag
from metroline.app.markup.times import iso
from metroline.app.views.anchors import JOURNAL_PATH, panel_id
from metroline.app.views.figures import NONE, Figures, address_of, clock
from metroline.app.views.line_picture import line_picture
from metroline.app.views.possible_actions import possible_actions
from metroline.app.views.stop_panels import stop_panel
from metroline.routing.addresses import SOURCE
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable

SIGNS = {Level.GOOD: "✓", Level.NOTICE: "!", Level.BAD: "✕"}

TILES = (
    ("records in", "entered_per_second", "rate"),
    ("delivered", "delivered_per_second", "rate"),
    ("dropped", "dropped_per_second", "rate"),
    ("dead letters", "dead_per_second", "rate"),
    ("longest wait", "oldest", "seconds"),
    ("median journey", "p50", "seconds"),
    ("99 % within", "p99", "seconds"),
)

STOP_COLUMNS = (
    ("Waiting#", "waiting", "count"),
    ("Trend", "", "trend"),
    ("Oldest#", "oldest", "seconds"),
    ("In#", "arriving_per_second", "rate"),
    ("In memory#", "chained_share", "share"),
    ("Handled#", "handled_per_second", "rate"),
    ("p50#", "p50", "seconds"),
    ("p99#", "p99", "seconds"),
    ("Retries#", "retries", "count"),
    ("Dropped#", "dropped", "count"),
    ("Dead#", "dead", "count"),
    ("Told", "", "age"),
)
"""The head of each column, its figure, and its form."""

SCHEDULE_COLUMNS = (
    ("Next tick", "next", "time"),
    ("Last tick", "last", "time"),
    ("Last run", "result", "text"),
    ("Records#", "entered", "count"),
    ("Delivered#", "delivered", "count"),
    ("Dropped#", "dropped", "count"),
    ("Dead#", "dead", "count"),
)
"""The head of each column, its figure, and its form. The last run is a link to its journey."""
OF_STOPS = frozenset({"handled_per_second", "chained_share", "retries"})
"""Figures that the source has not: no service is called there, and nothing comes to it in memory."""

WORKER_HEADS = (
    *("Worker", "Group", "Roles", "Strategy", "Rules#", "Code", "Behind#", "In#", "Settled#", "Up since", "Told"),
)

SUMS = ("delivered", "dropped", "dead", "lost", "under_way")

LISTED_EVENTS = 20

CHART_WIDTH, CHART_HEIGHT = 720, 120
"""Size of the chart of the last minutes, in its own units."""

SCRIPTS = Markup(
    tag("link", rel="stylesheet", href="/static/first_page.css")
    + tag("script", type="module", src="/static/first_page.js")
)
"""The style and the script that the page loads from this worker."""


def first_page(
    state: LiveState,
    table: RulesTable | None,
    version: int,
    announced: Iterable[WorkerInfo],
    own: Mapping[str, str],
    access: Markup,
    now: float,
) -> Markup:
    """Return the page. `table` and its `version` are those by which the worker that answers decides.

    `announced` are the live workers, and `own` are the facts about the one that answers. `access` says whether the
    visitor may write.
    """
    figures = Figures(state)
    return Markup(
        _verdict(state)
        + _search()
        + tag("dl", [_tile(figures, *tile) for tile in TILES], class_="tiles")
        + tag("p", figures.mark("span", "", "since"), class_="note")
        + possible_actions(figures, access)
        + line_picture(figures, table, version)
        + (_stops(figures, table) if table is not None else "")
        + (_schedules(figures) if state.schedules else "")
        + _sums(figures)
        + tag("h2", "Workers of this line")
        + tag("div", _workers(state, announced, now), id="workers")
        + _changes(figures)
        + tag("h2", "This worker")
        + tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in own.items()])
    )


def _verdict(state: LiveState) -> Markup:
    verdict: Verdict = state.verdict
    return tag(
        "section",
        tag("h2", tag("span", f"{SIGNS[verdict.level]} ", aria_hidden="true"), tag("span", verdict.text)),
        tag("ul", [tag("li", one) for one in verdict.more]),
        # A screen reader reads this out when it changes. The sentences above have figures that change each second.
        tag("p", f"Verdict: {verdict.level}, {verdict.kind}.", role="status", class_="unseen"),
        tag(
            "p",
            "Figures of ",
            moment(iso(state.at)),
            ", the oldest told ",
            tag("span", NONE if state.age is None else f"{duration(state.age)} ago", id="age"),
            ". ",
            tag("span", "Reload the page for newer ones.", id="freshness"),
        ),
        id="verdict",
        class_=f"verdict {verdict.level}",
    )


def _search() -> Markup:
    """Return the search for a record, which leads to its journey."""
    field = tag(
        "input",
        name_="find",
        type="search",
        required="required",
        maxlength="2000",
        size="36",
        id="find",
        placeholder="source-0-17",
    )
    return tag(
        "form",
        tag("label", "Where is the record? Its id, or a condition in CEL ", field),
        tag("button", "Find it"),
        action="/journeys/",
        role="search",
        class_="search",
    )


def _tile(figures: Figures, name: str, figure: str, form: str) -> Markup:
    return tag("div", tag("dt", name), figures.mark("dd", figure, form))


def _stops(figures: Figures, table: RulesTable) -> Markup:
    network = Network.of(table)
    stops = [SOURCE, *network.stops]
    return Markup(
        tag("h2", "Stops")
        + grid(["Stop", *(head for head, *_ in STOP_COLUMNS)], [_row(figures, stop) for stop in stops], class_="stops")
        + tag(
            "p",
            "Retries, drops and dead letters are counted since the present workers started. A dead letter that is "
            "replayed and dies again counts again here, and once in the sum below.",
            class_="note",
        )
        + tag("div", [stop_panel(figures, network, stop) for stop in stops], class_="panels")
    )


def _row(figures: Figures, stop: str) -> Iterator[Markup]:
    yield tag("td", tag("a", stop, href=f"#{panel_id(stop)}"))
    for head, figure, form in STOP_COLUMNS:
        kind = "number" if head.endswith("#") else None
        label = head.rstrip("#")
        if stop == SOURCE and figure in OF_STOPS:
            yield tag("td", NONE, class_=kind, data_label=label)
            continue
        yield figures.mark("td", figure, form, "places", address_of(stop), class_=kind, data_label=label)


def _schedules(figures: Figures) -> Markup:
    rows = [_schedule(figures, one) for one in figures.state.schedules]
    return Markup(tag("h2", "Schedules") + grid(["Schedule", *(head for head, *_ in SCHEDULE_COLUMNS)], rows))


def _schedule(figures: Figures, schedule: ScheduleState) -> Iterator[Markup]:
    name = schedule.name
    yield tag("td", name)
    for head, figure, form in SCHEDULE_COLUMNS:
        kind = "number" if head.endswith("#") else None
        if figure == "result":
            link = figures.mark("a", figure, form, "schedules", name, href=schedule.href or None)
            yield tag("td", link, data_label=head)
        else:
            yield figures.mark("td", figure, form, "schedules", name, class_=kind, data_label=head.rstrip("#"))


def _sums(figures: Figures) -> Markup:
    sums = figures.state.sums
    terms: list[object] = [figures.mark("b", "sent", "count", "sums"), " sent"]
    if figures.state.schedules:
        terms += [" (", figures.mark("b", "scheduled", "count", "sums"), " of them by schedules)"]
    for place, term in enumerate(SUMS):
        terms += [
            " = " if place == 0 else " + ",
            figures.mark("b", term, "count", "sums"),
            f" {term.replace('_', ' ')}",
        ]
    return Markup(
        tag("h2", "Do the sums add up?")
        + tag("p", terms, ".", class_="sums")
        + tag(
            "p",
            figures.mark("b", "unaccounted", "count", "sums"),
            " records are missing: they have no outcome and are nowhere under way. ",
            figures.mark("span", "why_unknown", "text", "sums"),
            " ",
            figures.mark("span", "", "since", "sums"),
            class_="note" if not sums.unaccounted else "warning",
        )
    )


def _workers(state: LiveState, announced: Iterable[WorkerInfo], now: float) -> Markup:
    """Return the workers that tell figures, and those that only announce themselves."""
    told = {worker.url for worker in state.workers}
    rows: list[Iterable[object]] = [
        table_row(_worker(worker), data_stale="" if worker.is_stale else None) for worker in state.workers
    ]
    rows += [_announced(one, now) for one in announced if one.url not in told]
    return grid(WORKER_HEADS, rows)


def _worker(worker: WorkerState) -> list[object]:
    age = f"{duration(worker.age)} ago"
    problems = "; ".join(worker.problems)
    state = "silent, " if worker.is_silent else "out of date, " if worker.is_stale else ""
    return [
        tag("a", worker.url, href=worker.url),
        worker.group,
        ", ".join(worker.parts),
        worker.strategy,
        number(worker.version),
        tag("code", worker.code),
        number(_behind(max(worker.behind, worker.source_behind))),
        number(f"{rate(worker.entered_per_second)}/s"),
        number(f"{rate(worker.settled_per_second)}/s"),
        moment(iso(worker.started)),
        f"{state}{age}" + (f"; not ready: {problems}" if problems else ""),
    ]


def _announced(worker: WorkerInfo, now: float) -> list[object]:
    return [
        tag("a", worker.url, href=worker.url),
        worker.group,
        ", ".join(worker.parts),
        worker.strategy,
        number(worker.version),
        NONE,
        number(_behind(max(worker.behind, worker.source_behind))),
        number(NONE),
        number(NONE),
        moment(iso(worker.started)),
        f"none; it announced itself {duration(max(0.0, now - worker.at))} ago",
    ]


def _behind(seconds: float) -> str:
    """Return how far a worker is behind as text. Less than a second is the time that records take anyway."""
    return f"{rounded(seconds)} s" if seconds >= 1 else "no"


def _changes(figures: Figures) -> Markup:
    """Return what changed, and the last minutes on the same axis of time."""
    state = figures.state
    return Markup(
        tag("h2", "What changed")
        + tag("div", _chart(state.points, state.events), class_="map", id="chart")
        + tag("p", figures.mark("span", "", "since"), class_="note", id="chart-age")
        + tag("ol", [_event(one) for one in state.events[:LISTED_EVENTS]], class_="events", id="events")
        + tag("p", tag("a", "The journal: who did what, and all that changed", href=JOURNAL_PATH))
    )


def _event(event: LiveEvent) -> Markup:
    return tag("li", moment(iso(event.at)), " ", tag("a", event.text, href=event.href) if event.href else event.text)


def _chart(points: Sequence[Point], events: Iterable[LiveEvent]) -> Markup:
    """Return the records that came in and got an outcome, per second, with a mark for each change."""
    if len(points) < 2:
        return tag("p", "The last minutes are shown here once there are figures of them.", class_="note")
    first, last = points[0].at, points[-1].at
    ended = [one.delivered_per_second + one.dropped_per_second + one.dead_per_second for one in points]
    entered = [one.entered_per_second for one in points]
    peak = max(*ended, *entered)
    scale = max(1.0, peak)

    def x(at: float) -> str:
        return f"{CHART_WIDTH * (at - first) / (last - first):.1f}"

    def line(values: Sequence[float], kind: str) -> Markup:
        ways = [
            f"{x(one.at)},{CHART_HEIGHT * (1 - value / scale):.1f}" for one, value in zip(points, values, strict=True)
        ]
        return tag("polyline", points=" ".join(ways), class_=kind)

    marks = [
        tag("line", tag("title", one.text), x1=x(one.at), x2=x(one.at), y1="0", y2=str(CHART_HEIGHT), class_="mark")
        for one in events
        if first <= one.at <= last
    ]
    return Markup(
        tag(
            "svg",
            tag("title", f"Records per second in the last {duration(last - first)}: up to {rate(peak)}/s"),
            marks,
            line(entered, "entered"),
            line(ended, "ended"),
            viewBox=f"0 -4 {CHART_WIDTH} {CHART_HEIGHT + 8}",
            class_="chart",
            role="img",
        )
        + tag("p", tag("span", clock(first, last)), tag("span", clock(last, last)), class_="axis")
        + tag(
            "p",
            f"Records per second in the last {duration(last - first)}, up to {rate(peak)}/s: the solid line is what "
            "came in, the dashed one what got an outcome, and an upright line is a change.",
            class_="note",
        )
    )
