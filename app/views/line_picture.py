"""The map of the line on the first page: drawn once for each table, and filled with figures at each look."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from metroline.app.line_map.graph import Section, Station
from metroline.app.line_map.live_map import Figures as MapFigures
from metroline.app.line_map.live_map import LiveMap
from metroline.app.markup.escaping import escape
from metroline.app.markup.html import Markup, tag
from metroline.app.views.anchors import panel_id, rule_link
from metroline.app.views.figures import FORMS, NONE, Figures, address_of, track_key
from metroline.routing.addresses import SOURCE
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable

SCREENS = (800, 1_100, 1_400, 1_750)
"""Widths of screens. A map from left to right is shown from the first one on into which it fits, and on narrower ones
the map from top to bottom. The style has a rule for each width."""

LEAST_SCALE = 0.96
"""Scale down to which a map shrinks, as the style says: its names can still be read."""

BESIDE_MAP = 75.0
"""Width of what stands beside a map: margins, and the bar to scroll the page."""

VIEW_BOX = re.compile(r'viewBox="\S+ \S+ (\S+) ')

GAP = "\0"
"""Stands for figures in a map that is drawn without them. No name has this character once it is escaped."""


def line_picture(figures: Figures, table: RulesTable | None, version: int) -> Markup:
    """Return the map of the line with its figures. `table` and its `version` are those that it is drawn from."""
    if table is None:
        return tag("p", "There is no rules table yet, so there is no map.", id="version", data_version="0")
    pictures = _pictures_of(table)
    forms = {"wide-map": pictures.wide, "turned-map": pictures.turned}
    return Markup(
        tag("h2", "Map")
        + tag(
            "p",
            "Rules of version ",
            tag("span", str(version), id="version", data_version=str(version)),
            f", strategy {figures.state.strategy or NONE}. Choose a station for its rules, journeys and failures, and "
            "a track for its rules where they can be changed. A band around a track, and ⇉ at its stop, mean that most "
            "records come there in memory: they ride on in one train with the stop before. ",
            figures.mark("span", "", "since", "tracks"),
            class_="note",
        )
        + tag(
            "div",
            [tag("div", one.with_figures(figures), class_=form) for form, one in forms.items() if one is not None],
            id="map",
            class_="map" if pictures.fits_from is None else f"map from-{pictures.fits_from}",
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
    fits_from: int | None
    """Width of the screens from which the map from left to right is shown."""


_pictures: dict[str, _Pictures] = {}
"""The maps that were drawn last, by the text of their table."""


def _pictures_of(table: RulesTable) -> _Pictures:
    """Return the maps of a table. They are drawn once, and not for each look at the page."""
    if table.text not in _pictures:
        network = Network.of(table)
        wide = _draw(network, LiveMap.wide)
        width = LEAST_SCALE * float(VIEW_BOX.search(wide.parts[0])[1]) + BESIDE_MAP  # type: ignore[index]
        fits_from = next((screen for screen in SCREENS if width <= screen), None)
        _pictures.clear()
        _pictures[table.text] = _Pictures(
            None if fits_from is None else wide, _draw(network, LiveMap.turned), fits_from
        )
    return _pictures[table.text]


def _draw(network: Network, form: Callable[[LiveMap], str]) -> _Picture:
    found: list[Callable[[Figures], str]] = []

    def note(figure: Callable[[Figures], str]) -> str:
        found.append(figure)
        return GAP

    drawn = LiveMap(
        network,
        MapFigures(
            lambda station, line: note(lambda figures: _station(figures, station, line)),
            lambda section: note(lambda figures: _section(figures, section)),
            lambda station: note(lambda figures: _train(figures, station)),
            lambda stop: f"#{panel_id(stop)}",
            lambda section: rule_link(section.rules[0].name if section.rules else None),
        ),
    )
    return _Picture(form(drawn).split(GAP), found)


def _station(figures: Figures, station: Station, line: str) -> str:
    """Return the figures of a station as they stand on the map."""
    if line == "ended":
        return figures.mark("tspan", f"{station.name}_per_second", "rate")
    mark = partial(figures.mark, "tspan", group="places", of=address_of(station.name))
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
    if line in ("losses", "stale"):
        return mark("", line)
    if line == "retries":
        return mark("retries", line)
    if station.name == SOURCE:
        return ""
    return "".join(["p50 ", mark("p50", "seconds"), " · p99 ", mark("p99", "seconds")])


def _section(figures: Figures, section: Section) -> str:
    key = track_key(section.start.name, section.end.name, section.end.is_terminal)
    return figures.mark("tspan", "per_second", "rate", "tracks", key)


def _train(figures: Figures, station: Station) -> str:
    """Return the attributes of the train to a stop: it is shown if most records come in memory."""
    address = address_of(station.name)
    is_shown = figures.text("chained_share", "train", "places", address) == FORMS["train"](1.0)
    return f'data-of="{escape(address)}"' + (' data-on=""' if is_shown else "")
