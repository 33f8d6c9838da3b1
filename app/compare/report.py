"""The report of a comparison: one HTML file that needs no other, with charts and the map of the line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from metroline.app.compare.charts import bars
from metroline.app.compare.comparison import Comparison, Run
from metroline.app.compare.figures import COSTS, COUNTS, Figure
from metroline.app.compare.routes import maps_and_routes
from metroline.app.markup.html import Markup, head, tag
from metroline.app.markup.numbers import count, percent
from metroline.routing.outcome import Ending
from metroline.routing.rules.network import Network
from metroline.routing.strategies import STRATEGIES

NUMBERS = {1: "one strategy", 2: "two strategies", 3: "three strategies", 4: "four strategies"}


def render(
    comparison: Comparison, network: Network, command: str, when: datetime, environment: Mapping[str, str]
) -> str:
    """Return the whole document. `environment` names facts about where it was measured, such as the machine."""
    runs = comparison.runs
    title = f"{comparison.line}: {count(comparison.records)} records under {_strategies(comparison.strategies)}"
    body = tag(
        "body",
        _header(comparison, when),
        tag("main", sections(comparison, network)),
        tag("footer", measurement(runs, command, when, environment)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head(title, _style()), body, lang='en')}\n"


def sections(comparison: Comparison, network: Network | None) -> Iterator[Markup | None]:
    """Yield the parts of a report: verdict, findings, table, charts, and map if the network of the line is known."""
    runs = comparison.runs
    yield verdict(comparison)
    yield _findings(comparison)
    yield figures(runs)
    yield _charts(runs)
    if network is not None:
        yield from maps_and_routes(runs, network)


def beside_each_other(comparisons: Mapping[str, Comparison]) -> Markup:
    """Return the charts of several comparisons, those of one figure on one axis. Keys are headings."""
    every = [run for one in comparisons.values() for run in one.runs]
    shown = [figure for figure in COSTS if figure.chart and any(figure.of(run) is not None for run in every)]
    return tag("section", [_beside(figure, comparisons, every) for figure in shown])


def _beside(figure: Figure, comparisons: Mapping[str, Comparison], every: Sequence[Run]) -> Markup:
    charts = [
        tag("figure", tag("figcaption", heading), bars(figure, one.runs, every)) for heading, one in comparisons.items()
    ]
    better = tag("small", "more" if figure.more_is_better else "less", " is better")
    return Markup(tag("h3", figure.chart, better) + tag("div", charts, class_="charts"))


@cache
def _style() -> Markup:
    return Markup(files(__package__).joinpath("report.css").read_text("utf-8"))


@cache
def style_below(class_name: str) -> Markup:
    """Return the style of a report for the elements of a class, in a page that has a style of its own."""
    return Markup(f".{class_name} {{\n{_style()}\n}}")


def _strategies(number: int) -> str:
    return NUMBERS.get(number, f"{number} strategies")


def _header(comparison: Comparison, when: datetime) -> Markup:
    broker = "the embedded broker" if comparison.broker == "embedded" else comparison.broker
    return tag(
        "header",
        tag("p", "Metroline · the same records under each routing strategy", class_="eyebrow"),
        tag("h1", comparison.line),
        tag(
            "p",
            tag("strong", f"{count(comparison.records)} records"),
            f" under {_strategies(comparison.strategies)}, on {broker}, ",
            _moment(when),
        ),
    )


def _moment(when: datetime) -> Markup:
    at = when.astimezone(UTC)
    return tag("time", f"{at:%Y-%m-%d %H:%M} UTC", datetime=f"{at:%Y-%m-%dT%H:%M:%SZ}")


def verdict(comparison: Comparison) -> Markup:
    """Return whether the outcome was the same under all strategies, with the outcomes or the differences."""
    alone = len(comparison.runs) == 1
    if not comparison.same_outcome:
        return tag(
            "section",
            tag("h2", "The figures do not add up" if alone else "The outcome differs between strategies"),
            tag("ul", [tag("li", difference) for difference in comparison.differences]),
            _not_compared(comparison),
            class_="verdict bad",
        )
    ways = "With chaining and without" if comparison.strategies == 1 else "Under every strategy"
    agreement = (
        "One strategy was run, so there is nothing to compare it with."
        if alone
        else f"{ways}, each record visited the same stops, had the same outcome and ended with the same content."
    )
    first = comparison.runs[0]
    return tag(
        "section",
        tag("h2", _heading(comparison)),
        tag("p", agreement, " In every run, sent = delivered + dropped + dead."),
        tag("dl", [_tile(ending, number, first.sent) for ending, number in first.outcomes.items()], class_="tiles"),
        _not_compared(comparison),
        class_="verdict good",
    )


def _not_compared(comparison: Comparison) -> Markup | None:
    """Return the differences that come from services and not from the strategies; None if there are none."""
    if not comparison.unsteady:
        return None
    return tag("div", tag("p", "Not compared:"), tag("ul", [tag("li", service) for service in comparison.unsteady]))


def _heading(comparison: Comparison) -> str:
    if len(comparison.runs) == 1:
        return "Every record has its outcome"
    if comparison.strategies == 1:
        return "Same outcome with chaining and without"
    return "Same outcome under all strategies"


def _findings(comparison: Comparison) -> Markup | None:
    """Return which strategies did not keep up with the rate, or None if all did."""
    findings = comparison.findings()
    if not findings:
        return None
    return tag("section", tag("h2", "Did not keep up"), tag("ul", [tag("li", found) for found in findings]))


def _tile(ending: Ending, number: int, sent: int) -> Markup:
    share = tag("span", percent(number, sent))
    return tag("div", tag("dt", ending), tag("dd", count(number), " ", share), class_=ending if number else "none")


def figures(runs: Sequence[Run]) -> Markup:
    """Return the table of the figures that were measured."""
    shown = [figure for figure in (*COUNTS, *COSTS) if any(figure.of(run) is not None for run in runs)]
    heads = [tag("th", figure.name, scope="col", title=figure.meaning) for figure in shown]
    table = tag(
        "table",
        tag("thead", tag("tr", tag("th", "strategy", scope="col"), heads)),
        tag("tbody", [_row(run, shown, runs[0]) for run in runs]),
        class_="comparison",
    )
    return tag(
        "section",
        tag("h2", "What each strategy costs"),
        tag("div", table, class_="wide", tabindex="0", role="group", aria_label="What each strategy costs"),
    )


def _row(run: Run, figures: Iterable[Figure], first: Run) -> Markup:
    """Return the figures of one run; outcomes that differ from those of the first run stand out."""
    strategy = STRATEGIES.get(run.strategy)
    about = (strategy.__doc__ or "").split("\n")[0] if strategy else ""
    differing = {ending.value for ending, number in run.outcomes.items() if number != first.outcomes[ending]}
    cells = [
        tag("td", figure.written(run), data_label=figure.name, class_="differs" if figure.name in differing else None)
        for figure in figures
    ]
    return tag("tr", tag("th", tag("code", run.name), tag("small", about), scope="row"), cells)


def _charts(runs: Sequence[Run]) -> Markup:
    charts = [
        tag(
            "figure",
            tag("figcaption", figure.chart, tag("small", "more" if figure.more_is_better else "less", " is better")),
            bars(figure, runs),
        )
        for figure in COSTS
        if figure.chart and any(figure.of(run) is not None for run in runs)
    ]
    return tag("section", tag("div", charts, class_="charts"))


def measurement(runs: Sequence[Run], command: str, when: datetime, environment: Mapping[str, str]) -> Markup:
    """Return how the figures were measured, and their meaning."""
    meanings = [tag("div", tag("dt", figure.name), tag("dd", figure.meaning)) for figure in (*COUNTS, *COSTS)]
    facts = {**environment, "date": _moment(when)}
    unmeasured = None
    if not any(run.latency_ms or run.pace or run.highest_rate is not None for run in runs):
        unmeasured = tag("p", "Latency was not measured. The option ", tag("code", "--rate"), " measures it.")
    return tag(
        "section",
        tag("h2", "How it was measured"),
        tag("pre", command),
        tag("dl", [tag("div", tag("dt", name), tag("dd", fact)) for name, fact in facts.items()], class_="facts"),
        tag("h3", "What the figures mean"),
        tag("dl", meanings, class_="meanings"),
        unmeasured,
    )
