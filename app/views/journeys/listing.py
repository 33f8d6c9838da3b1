"""The list of journeys as HTML: the form of the search, what can be searched, and the journeys that were found."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from metroline.app.markup.html import Markup, markup, moment, tag
from metroline.app.markup.numbers import count, counted
from metroline.app.markup.times import iso
from metroline.app.views.journeys.structs import JourneysPage, ListedJourney, Searchable
from metroline.routing.outcome import Ending

EXAMPLES = ("amount > 100", "journey.seconds > 5.0", 'journey.cause == "timeout"', '"all" in journey.rules')
"""Conditions that show what can be asked."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The fields of the form, as they were sent."""

    where: str = ""
    outcome: str = ""
    stop: str = ""


def form(asked: Asked, stops: Collection[str]) -> Markup:
    """Return the form of the search, filled with what was asked. `stops` are those of the line."""
    outcomes = [_option("", "any outcome", asked.outcome), *(_option(one, one, asked.outcome) for one in Ending)]
    named = sorted({*stops, *([asked.stop] if asked.stop else [])})
    of_stop = [_option("", "any stop", asked.stop), *(_option(one, one, asked.stop) for one in named)]
    by_id = tag(
        "form",
        tag("label", "Record ", tag("input", name_="id", required="required", placeholder="source-0-17", size="24")),
        tag("button", "Tell its journey"),
        action="/journeys/",
        class_="search",
    )
    by_query = tag(
        "form",
        tag("label", "Outcome ", tag("select", outcomes, name_="outcome")),
        tag("label", "Stop ", tag("select", of_stop, name_="stop")),
        tag(
            "label",
            "Condition (CEL) ",
            tag("input", name_="where", value=asked.where, placeholder=EXAMPLES[0], size="40", maxlength="2000"),
            class_="condition",
        ),
        tag("button", "Search"),
        action="/journeys/",
        class_="search",
    )
    hint = tag(
        "p",
        "A condition reads the fields of the record at its end, ",
        tag("code", "meta"),
        " as rules do, and the properties of the ",
        tag("code", "journey"),
        ": ",
        [[", " if number else "", tag("code", one)] for number, one in enumerate(EXAMPLES)],
        ".",
        class_="note",
    )
    return Markup(by_id + by_query + hint)


def show_list(page: JourneysPage, asked: Asked, stops: Collection[str]) -> Markup:
    """Return the page of the search."""
    parts = [form(asked, stops), tag("p", _stock(page.searchable), class_="note")]
    if page.failures:
        failed = f"The condition could not be evaluated for {counted(page.failures, 'journey')}: {page.failure}"
        parts.append(tag("p", failed, class_="warning"))
    if page.journeys:
        parts.append(tag("ol", map(_row, page.journeys), class_="journeys"))
    else:
        parts.append(tag("p", f"No journey fits, of {count(page.searched)} that were looked at."))
    if page.next is not None:
        parts.append(tag("p", tag("a", "Search further back", href=page.next, rel="next")))
    return markup(parts)


def _stock(searchable: Searchable) -> Iterator[object]:
    """Yield a few sentences about the journeys that can be searched."""
    kept, failed = searchable.kept, searchable.failed
    if kept.since is None and failed.since is None:
        yield "There is no journey to search: none has ended yet, or none is kept (JOURNEYS_PER_SECOND=0)."
    if kept.since is not None:
        share = "All" if kept.searchable >= kept.ended else f"{count(kept.searchable)} of the"
        yield f"{share} {counted(kept.ended, 'journey')} that were delivered or dropped since "
        yield moment(iso(kept.since))
        yield " can be searched. "
    if failed.since is not None:
        yield f"Dead letters: all {count(failed.searchable)} since "
        yield moment(iso(failed.since))
        yield ". "
    if not searchable.is_complete:
        yield "There is more to read: search again in a moment. "
    elif searchable.has_older:
        yield "Older journeys are found by their ids alone."


def _option(value: str, text: str, chosen: str) -> Markup:
    return tag("option", text, value=value, selected="selected" if value == chosen else None)


def _row(journey: ListedJourney) -> Markup:
    stops = Markup(" → ").join(tag("span", stop, class_="stop") for stop in ("source", *journey.stops))
    end = tag("b", journey.outcome, class_=f"ending {journey.outcome}")
    facts = [
        tag("a", journey.id, href=f"/journeys/{quote(journey.id, safe='')}"),
        f"{journey.seconds:,.3f} s",
        moment(iso(journey.ended)),
        journey.strategy,
    ]
    if journey.generation:
        facts.append(counted(journey.generation, "replay"))
    return tag(
        "li",
        tag("div", tag("span", Markup(stops + " → "), class_="chain"), end, _reason(journey), class_="way"),
        tag("div", [tag("span", fact) for fact in facts], class_="facts"),
    )


def _reason(journey: ListedJourney) -> Markup | None:
    return tag("span", journey.reason, class_="reason") if journey.reason else None
