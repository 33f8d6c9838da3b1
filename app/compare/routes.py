"""Where the records of a comparison went: the map of the line with its traffic, and the routes in a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from metroline.app.compare.figures import ENDINGS, Run
from metroline.app.line_map.graph import stops_of
from metroline.app.line_map.svg import draw, text_map
from metroline.app.markup.html import Markup, tag
from metroline.app.markup.numbers import count, percent
from metroline.routing.addresses import SOURCE
from metroline.routing.rules.network import Network

ROUTES_SHOWN, ROUTES_MOST = 25, 1000
"""Routes after which the others fold away, and after which they are summed up."""
RULES_SHOWN = 400


def journeys(runs: Sequence[Run], network: Network) -> Iterator[Markup]:
    """The map and the routes, once for all strategies that took records the same ways."""
    groups: list[tuple[Run, list[str]]] = []
    for run in runs:
        same = next((names for first, names in groups if first["routes"] == run["routes"]), None)
        if same is None:
            groups.append((run, [run["strategy"]]))
        else:
            same.append(run["strategy"])
    for run, names in groups:
        under = "" if len(groups) == 1 else f" under {_listed(names)}"
        yield tag(
            "section",
            tag("h2", f"Where the records went{under}"),
            tag("div", Markup(draw(network, run["routes"])), class_="map"),
            tag("p", "The thicker, the more records; dotted: a rule that none took.", class_="note"),
            _routes(run),
        )
    lines = text_map(network).split("\n")
    more = [f"… and {count(len(lines) - RULES_SHOWN)} more lines"] if len(lines) > RULES_SHOWN else []
    rules = tag("pre", "\n".join([*lines[:RULES_SHOWN], *more]))
    yield tag("details", tag("summary", "The rules of this line, stop by stop"), rules)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _routes(run: Run) -> Iterator[Markup]:
    """The routes that records took, the most travelled first; after some the others fold away."""
    routes = sorted(run["routes"].items(), key=lambda route: -sum(route[1].values()))
    rows = [_route(_stops(route), outcomes, run["sent"]) for route, outcomes in routes[:ROUTES_MOST]]
    if routes[ROUTES_MOST:]:
        rest = [outcomes for _, outcomes in routes[ROUTES_MOST:]]
        others = {ending: sum(outcomes.get(ending, 0) for outcomes in rest) for ending in ENDINGS}
        rows.append(_route(f"{count(len(rest))} more", others, run["sent"]))
    yield _table_of_routes(rows[:ROUTES_SHOWN])
    if rows[ROUTES_SHOWN:]:
        summary = tag("summary", f"{count(len(routes) - ROUTES_SHOWN)} more, less travelled")
        yield tag("details", summary, _table_of_routes(rows[ROUTES_SHOWN:]))


def _table_of_routes(rows: Sequence[Markup]) -> Markup:
    heads = [tag("th", head, scope="col") for head in ("route", *ENDINGS, "share")]
    return tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="routes")


def _stops(route: str) -> Markup:
    """The stops of a route as a person reads them."""
    stops = [tag("li", stop) for stop in (SOURCE, *stops_of(route))]
    return tag("ol", stops)


def _route(what: object, outcomes: Mapping[str, int], sent: int) -> Markup:
    numbers = [outcomes.get(ending, 0) for ending in ENDINGS]
    cells = [
        tag("td", count(number) if number else "·", class_=ending if number else "none", data_label=ending)
        for ending, number in zip(ENDINGS, numbers, strict=True)
    ]
    total = sum(numbers)
    bar = tag("span", class_="bar", style=f"width:{100 * total / sent if sent else 0:.2f}%")
    share = tag("td", percent(total, sent), tag("span", bar, class_="track"), data_label="share", class_="share")
    return tag("tr", tag("th", what, scope="row"), cells, share)
