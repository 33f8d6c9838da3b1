"""Live figures in a page: as text now, and marked so that the script of the page keeps them up to date.

`static/figures.js` finds the same figures in the same way and writes them in the same form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import to_builtins

from metroline.agents.pulses.live_state import LiveState
from metroline.agents.pulses.verdict import duration, rate
from metroline.app.markup.html import Markup, tag
from metroline.app.markup.numbers import count
from metroline.app.markup.times import iso
from metroline.routing.addresses import SOURCE, service_address

NONE = "\N{EN DASH}"
"""Stands for a figure that nobody has told."""

COUNTED = ("tracks", "rules")
"""Groups in which something that no worker tells of did not happen."""

THROUGH = 0.5
"""Share of records that come in memory from which a stop is marked as one of a train."""

SIGNS = {"growing": "▲", "draining": "▼"}


def _trend(place: Any) -> str:
    """Return the trend of a place in words: nothing is told by a sign or a colour alone."""
    trend, seconds = place["trend"], place["caught_up_in"]
    sign = SIGNS.get(trend, "")
    since = f" since {clock(place['since'])}" if place["since"] is not None else ""
    done = f", caught up in about {duration(seconds)}" if seconds is not None else ""
    return f"{sign} {trend}{since}{done}".strip()


def clock(at: float) -> str:
    """Return the time of day of a moment, in UTC."""
    return f"{(iso(at) or '')[11:19]} UTC"


def _sign(place: Any) -> str:
    return SIGNS.get(place["trend"], "")


def _age(told: Any) -> str:
    return f"{duration(told['age'])} ago" + (", out of date" if told["is_stale"] else "")


def _dead(dead: Any) -> str:
    return f"✕ {count(dead)} dead" if dead else ""


FORMS: dict[str, Callable[[Any], str]] = {
    "count": count,
    "rate": lambda per_second: f"{rate(per_second)}/s",
    "seconds": duration,
    "trend": _trend,
    "sign": _sign,
    "age": _age,
    "dead": _dead,
    "share": lambda share: f"{100 * share:.0f} %",
    "train": lambda share: " ⇉" if share >= THROUGH else "",
    "text": str,
    "time": lambda at: (iso(at) or "").replace("T", " ").replace("Z", " UTC"),
}
"""The forms of figures. Trends, signs and ages are made of all figures of a place or a worker."""


def indexed(state: LiveState) -> dict[str, Any]:
    """Return a state whose workers, schedules, tracks and rules are found by name, as `static/figures.js` has it."""
    found: dict[str, Any] = to_builtins(state)
    found["workers"] = {worker["id"]: worker for worker in found["workers"]}
    found["schedules"] = {schedule["name"]: schedule for schedule in found["schedules"]}
    found["tracks"] = {track_key(one["start"], one["end"], one["is_end"]): one for one in found["tracks"]}
    found["rules"] = {one["rule"]: one for one in found["rules"]}
    return found


def address_of(stop: str) -> str:
    """Return the address by which the figures of a stop, or of the source, are found."""
    return SOURCE if stop == SOURCE else service_address(stop)


def track_key(start: str, end: str, is_end: bool) -> str:
    """Return the name by which a track is found. No stop has one with `>` or `=`."""
    return f"{start}>{'=' if is_end else ''}{end}"


class Figures:
    """The figures of a state."""

    def __init__(self, state: LiveState) -> None:
        self.state = state
        self._found = indexed(state)

    def text(self, figure: str, form: str, group: str = "", of: str = "") -> str:
        """Return a figure as text.

        `figure` is its name, or empty for all of its owner; the owner is the one that `group` has by the name `of`,
        or the line.
        """
        owner = self._found[group].get(of) if group and of else self._found[group] if group else self._found
        if owner is None and group in COUNTED and self.state.workers:
            return FORMS[form](0)
        value = owner if owner is None or not figure else owner[figure]
        return NONE if value is None else FORMS[form](value)

    def mark(self, element: str, figure: str, form: str, group: str = "", of: str = "", **more: object) -> Markup:
        """Return an element with a figure, which a script can find."""
        return tag(
            element,
            self.text(figure, form, group, of),
            data_figure=figure,
            data_form=form,
            data_group=group or None,
            data_of=of or None,
            **more,
        )
