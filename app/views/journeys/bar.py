"""The bar of a place in a timeline: from when to when the record waited there and was worked on, on one scale."""

from __future__ import annotations

from dataclasses import dataclass

from metroline.app.markup.html import Markup, tag
from metroline.routing.journeys.timeline import Passage, Timeline

WIDTH, HEIGHT = 1_000, 10
"""Size of a bar in its own units; pages stretch it."""

LEAST = 3.0
"""Width of the shortest part that is seen."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The time from the beginning to the end of a journey, in seconds since the epoch."""

    begin: float
    end: float

    @classmethod
    def of(cls, journey: Timeline) -> Scale:
        came = [place.came for place in journey.places if place.came is not None]
        return cls(min([journey.entered, *came]), max([journey.ended, *(place.left for place in journey.places)]))

    def place(self, at: float) -> float:
        """Return the place of a time on the bar, from 0 to `WIDTH`."""
        whole = self.end - self.begin
        return 0.0 if whole <= 0 else WIDTH * min(1.0, max(0.0, (at - self.begin) / whole))


def bar(place: Passage, scale: Scale) -> Markup:
    """Return the bar of a place as SVG. The text beside it says the same."""
    began = place.left if place.worked is None else place.left - place.worked
    came = place.left if place.came is None else place.came
    kind = "here" if place.worked is None and place.waited is None else "wait"  # the source only has records wait
    parts = [_part(kind, came, began, scale)]
    if place.worked is not None:
        parts.append(_part("work", began, place.left, scale))
    parts += [_mark(attempt.at, scale) for attempt in place.attempts if attempt.at is not None]
    return tag(
        "svg",
        parts,
        class_="timebar",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def _part(kind: str, begin: float, end: float, scale: Scale) -> Markup:
    first, last = scale.place(begin), scale.place(end)
    width = max(LEAST, last - first)
    return tag("rect", class_=kind, x=f"{min(first, WIDTH - width):.1f}", y=0, width=f"{width:.1f}", height=HEIGHT)


def _mark(at: float, scale: Scale) -> Markup:
    """Return the mark of a failed attempt."""
    place = min(scale.place(at), WIDTH - LEAST)
    return tag("rect", class_="failed", x=f"{place:.1f}", y=0, width=LEAST, height=HEIGHT)
