"""Live figures in a page: as text now, and marked so that the script of the page keeps them up to date.

`static/figures.js` finds the same figures in the same way and writes them in the same form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import to_builtins

from metroline.agents.pulses.live_state import LiveState
from metroline.agents.pulses.verdict import duration, rate, rounded
from metroline.app.markup.html import Markup, tag
from metroline.app.markup.numbers import count
from metroline.app.markup.times import iso
from metroline.routing.addresses import SOURCE, service_address

NONE = "\N{EN DASH}"
"""Stands for a figure that nobody has told."""

COUNTED = ("tracks", "rules")
"""Groups in which something that no worker tells of did not happen."""

SETTLED = ("tracks", "rules", "failures", "schedules")
"""Groups of what the arrivals count when a journey ends."""

THROUGH = 0.5
"""Share of records that come in memory from which a stop is marked as one of a train."""

THOUSAND, MILLION = 1_000, 1_000_000

SIGNS = {"growing": "▲", "draining": "▼"}


def _trend(place: Any, now: float) -> str:
    """Return the trend of a place in words: nothing is told by a sign or a colour alone."""
    trend, seconds = place["trend"], place["caught_up_in"]
    sign = SIGNS.get(trend, "")
    since = f", behind since {clock(place['since'], now)}" if place["since"] is not None else ""
    done = f", caught up in about {duration(seconds)}" if seconds is not None else ""
    return f"{sign} {trend}{since}{done}".strip()


def clock(at: float, now: float) -> str:
    """Return the time of day of a moment, in UTC, with its date if that is not the present one."""
    moment, present = ((iso(one) or "")[:19].replace("T", " ") for one in (at, now))
    return f"{moment[11:] if moment[:10] == present[:10] else moment} UTC"


def _sign(place: Any) -> str:
    return SIGNS.get(place["trend"], "")


def _age(told: Any) -> str:
    return f"{duration(told['age'])} ago" + (", out of date" if told["is_stale"] else "")


def _since(told: Any, now: float) -> str:
    """Return since when figures are out of date; nothing if they are not."""
    if not told["is_stale"]:
        return ""
    return "Out of date." if told["age"] is None else f"Out of date since {clock(now - told['age'], now)}."


def _stale(told: Any, now: float) -> str:
    """Return the same for the map, where there is room for the time of day alone."""
    if not told["is_stale"]:
        return ""
    return "out of date" if told["age"] is None else f"since {(iso(now - told['age']) or '')[11:19]}"


def _few(number: int) -> str:
    """Return a number for the map in at most four letters, up to a billion. The table has all its digits."""
    if number < THOUSAND:
        return str(number)
    return f"{number // THOUSAND}k" if number < MILLION else f"{number // MILLION}M"


def _losses(place: Any) -> str:
    """Return the records that ended at a place without being delivered."""
    dead, dropped = place["dead"], place["dropped"]
    found = (f"✕ {_few(dead)} dead" if dead else "", f"{_few(dropped)} dropped" if dropped else "")
    return " · ".join(filter(None, found))


FORMS: dict[str, Callable[[Any], str]] = {
    "count": count,
    "rate": lambda per_second: f"{rate(per_second)}/s",
    "seconds": duration,
    "sign": _sign,
    "age": _age,
    "losses": _losses,
    "retries": lambda retries: f"{_few(retries)} retries" if retries else "",
    "share": lambda share: f"{rounded(100 * share)} %",
    "train": lambda share: " ⇉" if share >= THROUGH else "",
    "text": str,
    "time": lambda at: f"{(iso(at) or '')[:19].replace('T', ' ')} UTC",
}
"""The forms of figures. Signs, losses and ages are made of all figures of a place or a worker."""

TIMED_FORMS: dict[str, Callable[[Any, float], str]] = {"trend": _trend, "since": _since, "stale": _stale}
"""The forms that also take the present time, in seconds since the epoch."""

AGE_FORMS = ("since", "stale")
"""The forms that are made of the age of figures."""


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
        owner = self._told_by(group, of) if form in AGE_FORMS else self._owner(group, of)
        if owner is None and group in COUNTED and self.state.workers:
            return FORMS[form](0)
        value = owner if owner is None or not figure else owner[figure]
        if value is None:
            return "" if form in AGE_FORMS else NONE
        return TIMED_FORMS[form](value, self.state.at) if form in TIMED_FORMS else FORMS[form](value)

    def mark(self, element: str, figure: str, form: str, group: str = "", of: str = "", **more: object) -> Markup:
        """Return an element with a figure, which a script can find."""
        told = self._told_by(group, of)
        return tag(
            element,
            self.text(figure, form, group, of),
            data_figure=figure,
            data_form=form,
            data_group=group or None,
            data_of=of or None,
            data_stale="" if told is not None and told["is_stale"] else None,
            **more,
        )

    def _owner(self, group: str, of: str) -> Any:
        return self._found[group].get(of) if group and of else self._found[group] if group else self._found

    def _told_by(self, group: str, of: str) -> Any:
        """Return what has the age of a figure: its place or worker, what the arrivals count, or the line."""
        if group in SETTLED:
            return self._found["settled"]
        return self._owner(group, of) if of else self._found
