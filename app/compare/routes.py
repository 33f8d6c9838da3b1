"""The routes of the records of a comparison: the map of the line with its traffic, and a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from metroline.app.compare.comparison import Run, route_named
from metroline.app.line_map.svg import draw
from metroline.app.line_map.text import text_map
from metroline.app.markup.html import Markup, tag
from metroline.app.markup.numbers import count, percent
from metroline.routing.addresses import SOURCE
from metroline.routing.outcome import Ending
from metroline.routing.rules.network import Network

UNFOLDED, LISTED = 25, 1000
"""Routes that are shown at once, and routes that have a row of their own; the rest share one row."""
RULE_LINES = 400


def maps_and_routes(runs: Sequence[Run], network: Network) -> Iterator[Markup]:
    """Yield the map and the routes, once for all strategies under which records took the same routes."""
    groups: list[tuple[Run, list[str]]] = []
    for run in runs:
        same = next((names for first, names in groups if (first.routes, first.ends) == (run.routes, run.ends)), None)
        if same is None:
            groups.append((run, [run.name]))
        else:
            same.append(run.name)
    for run, names in groups:
        under = "" if len(groups) == 1 else f" under {_join(names)}"
        traffic = {route_named(name): outcomes for name, outcomes in run.routes.items()}
        yield tag(
            "section",
            tag("h2", f"Where the records went{under}"),
            tag(
                "div",
                Markup(draw(network, traffic)),
                class_="map",
                tabindex="0",
                role="region",
                aria_label=f"Map of the records{under}",
            ),
            tag("p", "Thicker lines carried more records. No record took a dotted line.", class_="note"),
            _routes(run),
            _ends(run),
        )
    yield _rules(network)


def _ends(run: Run) -> Markup | None:
    """Return how many records were delivered at named ends; None if there are none."""
    if not run.ends:
        return None
    others = run.delivered - sum(run.ends.values())
    ends = [f"{count(number)} at {name}" for name, number in sorted(run.ends.items())]
    return tag("p", f"Delivered: {', '.join(ends)}, and {count(others)} at the default end.")


def _rules(network: Network) -> Markup:
    lines = text_map(network).split("\n")
    more = [f"… and {count(len(lines) - RULE_LINES)} more lines"] if len(lines) > RULE_LINES else []
    rules = tag("pre", "\n".join([*lines[:RULE_LINES], *more]))
    return tag("details", tag("summary", "The rules of this line, stop by stop"), rules)


def _join(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _routes(run: Run) -> Iterator[Markup]:
    """Yield the routes that records took, the most travelled first; those behind the first few are folded away."""
    routes = sorted(run.routes.items(), key=lambda route: -sum(route[1].values()))
    rows = [_row(_stops(name), outcomes, run.sent) for name, outcomes in routes[:LISTED]]
    if routes[LISTED:]:
        rest = [outcomes for _, outcomes in routes[LISTED:]]
        others = {ending: sum(outcomes.get(ending, 0) for outcomes in rest) for ending in Ending}
        rows.append(_row(f"{count(len(rest))} more", others, run.sent))
    yield _table(rows[:UNFOLDED])
    if rows[UNFOLDED:]:
        summary = tag("summary", f"{count(len(routes) - UNFOLDED)} more routes with fewer records")
        yield tag("details", summary, _table(rows[UNFOLDED:]))


def _table(rows: Sequence[Markup]) -> Markup:
    heads = [tag("th", head, scope="col") for head in ("route", *(ending.value for ending in Ending), "share")]
    return tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="routes")


def _stops(route: str) -> Markup:
    return tag("ol", [tag("li", stop) for stop in (SOURCE, *route_named(route))])


def _row(name: object, outcomes: Mapping[Ending, int], sent: int) -> Markup:
    cells = [_records(ending, outcomes.get(ending, 0)) for ending in Ending]
    total = sum(outcomes.values())
    bar = tag("span", class_="bar", style=f"width:{100 * total / sent if sent else 0:.2f}%")
    share = tag("td", percent(total, sent), tag("span", bar, class_="track"), data_label="share", class_="share")
    return tag("tr", tag("th", name, scope="row"), cells, share)


def _records(ending: Ending, number: int) -> Markup:
    return tag("td", count(number) if number else "·", class_=ending if number else "none", data_label=ending)
