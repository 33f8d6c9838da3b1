"""The first page: whether all is well, the line as a map with its live figures, and what stands behind them.

All of it is there without a script; `static/first_page.js` keeps it up to date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from msgspec import Struct

from metroline.agents.membership.worker import WorkerInfo
from metroline.agents.pulses.live_state import Level, LiveEvent, LiveState, Point, Verdict, WorkerState
from metroline.agents.pulses.verdict import duration, rate
from metroline.app.line_map.graph import Section, Station
from metroline.app.line_map.live_map import LiveMap
from metroline.app.markup.html import Markup, grid, moment, number, tag
from metroline.app.markup.numbers import count
from metroline.app.markup.times import iso
from metroline.app.views.figures import NONE, Figures, track_key
from metroline.routing.addresses import SOURCE, service_address
from metroline.routing.rules.network import Network
from metroline.routing.rules.rule import Rule
from metroline.routing.rules.table import RulesTable

SIGNS = {Level.GOOD: "✓", Level.NOTICE: "!", Level.BAD: "✕"}

TILES = (
    ("records in", "entered_per_second", "rate"),
    ("delivered", "delivered_per_second", "rate"),
    ("dropped", "dropped_per_second", "rate"),
    ("dead letters", "dead_per_second", "rate"),
    ("longest wait", "oldest", "seconds"),
    ("median journey", "p50", "seconds"),
    ("99 % of journeys within", "p99", "seconds"),
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

WORKER_HEADS = (
    *("Worker", "Group", "Roles", "Strategy", "Rules#", "Code", "Behind#", "In#", "Settled#", "Up since", "Told"),
)

SUMS = ("delivered", "dropped", "dead", "lost", "under_way")

LISTED_EVENTS, LISTED_RULES = 20, 200

CHART_WIDTH, CHART_HEIGHT = 720, 120
"""Size of the chart of the last minutes, in its own units."""

WIDEST = 2_400.0
"""Width of a map from left to right above which the one from top to bottom takes its place on every screen."""

VIEW_BOX = re.compile(r'viewBox="\S+ \S+ (\S+) ')

GAP = "\0"
"""Stands for figures in a map that is drawn without them. No name has this character once it is escaped."""

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
    now: float,
) -> Markup:
    """Return the page. `table` and its `version` are those by which the worker that answers decides.

    `announced` are the live workers, and `own` are the facts about the one that answers.
    """
    figures = Figures(state)
    return Markup(
        _verdict(state)
        + tag("dl", [_tile(figures, *tile) for tile in TILES], class_="tiles")
        + _map(figures, table, version)
        + (_stops(figures, table) if table is not None else "")
        + _sums(figures)
        + tag("h2", "Workers of this line")
        + tag("div", _workers(state, announced, now), id="workers")
        + _changes(state)
        + tag("h2", "This worker")
        + tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in own.items()])
    )


def _verdict(state: LiveState) -> Markup:
    verdict: Verdict = state.verdict
    return tag(
        "section",
        tag(
            "div",
            tag("h2", tag("span", f"{SIGNS[verdict.level]} ", aria_hidden="true"), tag("span", verdict.text)),
            tag("ul", [tag("li", one) for one in verdict.more]),
            role="status",
        ),
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


def _tile(figures: Figures, name: str, figure: str, form: str) -> Markup:
    return tag("div", tag("dt", name), figures.mark("dd", figure, form))


def _map(figures: Figures, table: RulesTable | None, version: int) -> Markup:
    if table is None:
        return tag("p", "There is no rules table yet, so there is no map.", id="version", data_version="0")
    pictures = _pictures_of(table)
    forms = {"wide-map": pictures.wide, "turned-map": pictures.turned}
    return Markup(
        tag("h2", "The line")
        + tag(
            "p",
            "Rules of version ",
            tag("span", str(version), id="version", data_version=str(version)),
            f", strategy {figures.state.strategy or NONE}. Choose a station for its rules and failures. "
            "⇉ marks stops to which most records come in memory, in one train with the stop before.",
            class_="note",
        )
        + tag(
            "div",
            [tag("div", one.with_figures(figures), class_=form) for form, one in forms.items() if one is not None],
            id="map",
            class_="map" if pictures.wide is not None else "map long",
            tabindex="0",
            role="region",
            aria_label="Map of the line",
        )
    )


class _Picture(Struct, frozen=True):
    """A map without its figures: the parts between them, and after each part the function that gives the next one."""

    parts: list[str]
    figures: list[Callable[[Figures], str]]

    def with_figures(self, figures: Figures) -> Markup:
        told = [figure(figures) for figure in self.figures]
        return Markup("".join(part + one for part, one in zip(self.parts, [*told, ""], strict=True)))


class _Pictures(Struct, frozen=True):
    """The two forms of a map. A line that is too long for any screen has only the one from top to bottom."""

    wide: _Picture | None
    turned: _Picture


_pictures: dict[str, _Pictures] = {}
"""The maps that were drawn last, by the text of their table."""


def _pictures_of(table: RulesTable) -> _Pictures:
    """Return the maps of a table. They are drawn once, and not for each look at the page."""
    if table.text not in _pictures:
        network = Network.of(table)
        wide = _draw(network, LiveMap.wide)
        is_long = float(VIEW_BOX.search(wide.parts[0])[1]) > WIDEST  # type: ignore[index]
        _pictures.clear()
        _pictures[table.text] = _Pictures(None if is_long else wide, _draw(network, LiveMap.turned))
    return _pictures[table.text]


def _draw(network: Network, form: Callable[[LiveMap], str]) -> _Picture:
    found: list[Callable[[Figures], str]] = []

    def note(figure: Callable[[Figures], str]) -> str:
        found.append(figure)
        return GAP

    drawn = LiveMap(
        network,
        lambda station, line: note(lambda figures: _station(figures, station, line)),
        lambda section: note(lambda figures: _section(figures, section)),
        lambda stop: f"#{_id(stop)}",
    )
    return _Picture(form(drawn).split(GAP), found)


def _station(figures: Figures, station: Station, line: str) -> str:
    """Return the figures of a station as they stand on the map."""
    if line == "ended":
        return figures.mark("tspan", f"{station.name}_per_second", "rate")
    mark = partial(figures.mark, "tspan", group="places", of=_address(station.name))
    if line == "waiting":
        return "".join(
            [
                mark("waiting", "count"),
                " wait · ",
                mark("oldest", "seconds"),
                " ",
                mark("", "sign"),
                mark("chained_share", "train"),
            ]
        )
    if line == "dead":
        return mark("dead", "dead")
    if station.name == SOURCE:
        return ""
    return "".join(["p50 ", mark("p50", "seconds"), " · p99 ", mark("p99", "seconds")])


def _section(figures: Figures, section: Section) -> str:
    key = track_key(section.start.name, section.end.name, section.end.is_terminal)
    return figures.mark("tspan", "per_second", "rate", "tracks", key)


def _address(stop: str) -> str:
    return SOURCE if stop == SOURCE else service_address(stop)


def _id(stop: str) -> str:
    """Return the id of a stop's panel."""
    return f"stop-{stop}"


def _stops(figures: Figures, table: RulesTable) -> Markup:
    network = Network.of(table)
    stops = [SOURCE, *network.stops]
    return Markup(
        tag("h2", "Stops")
        + grid(["Stop", *(head for head, *_ in STOP_COLUMNS)], [_row(figures, stop) for stop in stops], class_="stops")
        + tag("div", [_panel(figures, network, stop) for stop in stops], class_="panels")
    )


def _row(figures: Figures, stop: str) -> Iterator[Markup]:
    yield tag("td", tag("a", stop, href=f"#{_id(stop)}"))
    for head, figure, form in STOP_COLUMNS:
        kind = "number" if head.endswith("#") else None
        label = head.rstrip("#")
        yield figures.mark("td", figure, form, "places", _address(stop), class_=kind, data_label=label)


def _panel(figures: Figures, network: Network, stop: str) -> Markup:
    """Return the panel of a stop: its rules in order, with how often each held, and its failures by cause."""
    rules = network.edges.get(stop, [])
    place = figures.state.places.get(_address(stop))
    return tag(
        "section",
        tag("h3", stop, tabindex="-1"),
        tag("p", f"Paused: {place.paused}", class_="warning") if place is not None and place.paused else None,
        tag("ol", [_rule(figures, rule) for rule in rules[:LISTED_RULES]])
        if rules
        else tag("p", "It has no rules: records are delivered after it."),
        tag("p", f"… and {count(len(rules) - LISTED_RULES)} more rules") if len(rules) > LISTED_RULES else None,
        tag("ul", _failures(figures.state, stop), class_="failures", data_stop=stop),
        tag("p", tag("a", "back to the map", href="#map")),
        id=_id(stop),
        class_="panel",
    )


def _rule(figures: Figures, rule: Rule) -> Markup:
    equal = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in rule.match.items())
    condition = " and ".join(filter(None, (equal, rule.when or ""))) or "always"
    goal = f"to {rule.to}" if rule.to is not None else f"dropped: {rule.drop}"
    return tag(
        "li",
        tag("b", rule.name),
        " ",
        tag("code", condition),
        f" → {goal}; held ",
        figures.mark("span", "count", "count", "rules", rule.name),
        " times, ",
        figures.mark("span", "per_second", "rate", "rules", rule.name),
    )


def _failures(state: LiveState, stop: str) -> list[Markup]:
    found = [one for one in state.failures if one.stop == stop]
    return [tag("li", f"{count(one.count)} dead letters: {one.cause}, {rate(one.per_second)}/s") for one in found]


def _sums(figures: Figures) -> Markup:
    sums = figures.state.sums
    terms: list[object] = [figures.mark("b", "sent", "count", "sums"), " sent"]
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
            class_="note" if not sums.unaccounted else "warning",
        )
    )


def _workers(state: LiveState, announced: Iterable[WorkerInfo], now: float) -> Markup:
    """Return the workers that tell figures, and those that only announce themselves."""
    told = {worker.url for worker in state.workers}
    rows: list[Iterable[object]] = [_worker(worker) for worker in state.workers]
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
    return f"{seconds:.0f} s" if seconds >= 1 else "no"


def _changes(state: LiveState) -> Markup:
    """Return what changed, and the last minutes on the same axis of time."""
    return Markup(
        tag("h2", "What changed")
        + tag("div", _chart(state.points, state.events), class_="map", id="chart")
        + tag("ol", [_event(one) for one in state.events[:LISTED_EVENTS]], class_="events", id="events")
    )


def _event(event: LiveEvent) -> Markup:
    return tag("li", moment(iso(event.at)), f" {event.text}")


def _chart(points: Sequence[Point], events: Iterable[LiveEvent]) -> Markup:
    """Return the records that came in and got an outcome, per second, with a mark for each change."""
    if len(points) < 2:
        return tag("p", "The last minutes are shown here once there are figures of them.", class_="note")
    first, last = points[0].at, points[-1].at
    ended = [one.delivered_per_second + one.dropped_per_second + one.dead_per_second for one in points]
    entered = [one.entered_per_second for one in points]
    peak = max(1.0, *ended, *entered)

    def x(at: float) -> str:
        return f"{CHART_WIDTH * (at - first) / (last - first):.1f}"

    def line(values: Sequence[float], kind: str) -> Markup:
        ways = [
            f"{x(one.at)},{CHART_HEIGHT * (1 - value / peak):.1f}" for one, value in zip(points, values, strict=True)
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
        + tag(
            "p",
            f"Records per second in the last {duration(last - first)}, up to {rate(peak)}/s: the solid line is what "
            "came in, the dashed one what got an outcome, and an upright line is a change.",
            class_="note",
        )
    )
