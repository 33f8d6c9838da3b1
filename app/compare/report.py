"""The report of a comparison: one HTML file that stands alone, with charts and the map of the line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from metroline.app.compare.charts import bars
from metroline.app.compare.figures import COSTS, COUNTS, ENDINGS, Figure, Run
from metroline.app.compare.routes import journeys
from metroline.app.markup.html import Markup, tag
from metroline.app.markup.numbers import count, percent
from metroline.routing.rules.network import Network
from metroline.routing.strategies import STRATEGIES


def render(
    result: Mapping[str, Any], network: Network, command: str, when: datetime, environment: Mapping[str, str]
) -> str:
    """The whole document; `result` is what `metroline compare --json` writes."""
    runs = result["runs"]
    title = f"{result['line']}: {count(result['records'])} records under {_strategies(len(runs))}"
    body = tag(
        "body",
        _head(result, when),
        tag("main", _verdict(result), _table(runs), _charts(runs), journeys(runs, network)),
        tag("footer", _measured(runs, command, when, environment)),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", _style()),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


@cache
def _style() -> Markup:
    return Markup(files(__package__).joinpath("report.css").read_text("utf-8"))


def _strategies(number: int) -> str:
    return {1: "one strategy", 2: "two strategies", 3: "three strategies", 4: "four strategies"}.get(
        number, f"{number} strategies"
    )


def _head(result: Mapping[str, Any], when: datetime) -> Markup:
    broker = "the embedded broker" if result["broker"] == "embedded" else result["broker"]
    return tag(
        "header",
        tag("p", "Metroline · the same records under each routing strategy", class_="eyebrow"),
        tag("h1", result["line"]),
        tag(
            "p",
            tag("strong", f"{count(result['records'])} records"),
            f" under {_strategies(len(result['runs']))}, on {broker}, ",
            _moment(when),
        ),
    )


def _moment(when: datetime) -> Markup:
    at = when.astimezone(UTC)
    return tag("time", f"{at:%Y-%m-%d %H:%M} UTC", datetime=f"{at:%Y-%m-%dT%H:%M:%SZ}")


def _verdict(result: Mapping[str, Any]) -> Markup:
    runs, differences = result["runs"], result["differences"]
    if not result["same_outcome"]:
        return tag(
            "section",
            tag("h2", "Not the same outcome under all strategies" if len(runs) > 1 else "The figures do not add up"),
            tag("ul", [tag("li", difference) for difference in differences]),
            class_="verdict bad",
        )
    every = "Every record visited the same stops and had the same outcome and the same content at its end."
    adds_up = "The sums add up: sent = delivered + dropped + dead, in every run."
    alone = len(runs) == 1
    return tag(
        "section",
        tag("h2", "Every record has its outcome" if alone else "Same outcome under all strategies"),
        tag("p", "One strategy was run, so there is nothing to compare it with. " if alone else f"{every} ", adds_up),
        tag("dl", [_tile(ending, runs[0]) for ending in ENDINGS], class_="tiles"),
        class_="verdict good",
    )


def _tile(ending: str, run: Run) -> Markup:
    number = run[ending]
    share = tag("span", percent(number, run["sent"]))
    return tag("div", tag("dt", ending), tag("dd", count(number), " ", share), class_=ending if number else "none")


def _table(runs: Sequence[Run]) -> Markup:
    figures = [figure for figure in (*COUNTS, *COSTS) if any(figure.of(run) is not None for run in runs)]
    heads = [tag("th", figure.name, scope="col", title=figure.meaning) for figure in figures]
    return tag(
        "section",
        tag("h2", "What each strategy costs"),
        tag(
            "table",
            tag("thead", tag("tr", tag("th", "strategy", scope="col"), heads)),
            tag("tbody", [_row(run, figures, runs[0]) for run in runs]),
            class_="comparison",
        ),
    )


def _row(run: Run, figures: Iterable[Figure], first: Run) -> Markup:
    """The figures of one run; outcomes that are not those of the first run stand out."""
    strategy = STRATEGIES.get(run["strategy"])
    about = (strategy.__doc__ or "").split("\n")[0] if strategy else ""
    differing = {ending for ending in ENDINGS if run[ending] != first[ending]}
    cells = [
        tag("td", figure.written(run), data_label=figure.name, class_="differs" if figure.key in differing else None)
        for figure in figures
    ]
    return tag("tr", tag("th", tag("code", run["strategy"]), tag("small", about), scope="row"), cells)


def _charts(runs: Sequence[Run]) -> Markup:
    charts = [
        tag(
            "figure",
            tag("figcaption", figure.chart, tag("small", "more" if figure.more_is_better else "less", " is better")),
            bars(figure, runs),
        )
        for figure in COSTS
        if figure.chart
    ]
    return tag("section", tag("div", charts, class_="charts"))


def _measured(runs: Sequence[Run], command: str, when: datetime, environment: Mapping[str, str]) -> Markup:
    figures = [*COUNTS, *COSTS]
    meanings = [tag("div", tag("dt", figure.name), tag("dd", figure.meaning)) for figure in figures]
    facts = {**environment, "date": _moment(when)}
    unmeasured = None
    if not any(run["latency_ms"] for run in runs):
        unmeasured = tag("p", "Latency was not measured: ", tag("code", "--rate"), " does that.")
    return tag(
        "section",
        tag("h2", "How it was measured"),
        tag("pre", command),
        tag("dl", [tag("div", tag("dt", name), tag("dd", fact)) for name, fact in facts.items()], class_="facts"),
        tag("h3", "What the figures mean"),
        tag("dl", meanings, class_="meanings"),
        unmeasured,
    )
