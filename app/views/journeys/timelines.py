"""The timelines of a record as HTML: each place with its bar, its attempts, and what sent the record on."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import orjson

from metroline.app.markup.html import Markup, grid, markup, moment, tag
from metroline.app.markup.numbers import counted
from metroline.app.markup.times import iso
from metroline.app.views.journeys.bar import Scale, bar
from metroline.app.views.journeys.structs import JourneyPage
from metroline.app.views.letters.pages import show_entry
from metroline.routing.journeys.timeline import Certainty, Decided, Passage, Timeline

READ = {
    Certainty.EXACT: "Rules that were tried, with the values that they read",
    Certainty.UNCHANGED: "Rules that were tried, with values that did not change between the source and the end",
    Certainty.LATER: "Rules that were tried, with the values at the end of the journey",
}

UNREAD = {
    Certainty.CHANGED: "The values that the rules read have changed since, and are not known.",
    Certainty.UNKNOWN: "The values that the rules read are not known any more.",
}


def show_timelines(page: JourneyPage) -> Markup:
    """Return the page of a record."""
    if not page.journeys:
        text = page.whereabouts.text if page.whereabouts is not None else "it is not known"
        missing = tag("p", f"There is no kept journey of {page.id}: {text}.", class_="warning")
        return markup([missing, _done(page)])
    parts = [_journey(one, number, len(page.journeys)) for number, one in enumerate(page.journeys)]
    if page.more:
        parts.append(tag("p", f"{counted(page.more, 'journey')} more: name a record by its number, {page.id}.0"))
    return markup([parts, _done(page)])


def _done(page: JourneyPage) -> Markup | None:
    """Return what was done to the record while it was a dead letter."""
    if not page.done:
        return None
    items = [tag("li", show_entry(entry)) for entry in page.done]
    return markup([tag("h2", "Done to it as a dead letter"), tag("ol", items)])


def _journey(journey: Timeline, number: int, count: int) -> Markup:
    facts = {
        "Outcome": tag("span", journey.outcome, class_=f"ending {journey.outcome}"),
        "Time": f"{journey.seconds:,.3f} s",
        "Entered": moment(iso(journey.entered), is_precise=True),
        "Ended": moment(iso(journey.ended), is_precise=True),
        "Strategy": journey.strategy,
        "Hops on the bus": str(journey.bus_hops),
    }
    title = f"{journey.id}, journey {count - number} of {count}" if count > 1 else None
    scale = Scale.of(journey)
    parts = [
        None if title is None else tag("h2", title),
        tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()], class_="words"),
        tag("p", journey.reason, class_="warning") if journey.reason and journey.outcome == "dead" else None,
        tag("p", f"Reason: {journey.reason}") if journey.reason and journey.outcome != "dead" else None,
        [_replay(replay.at, replay.by, replay.reason, replay.was_edited) for replay in journey.replays],
        tag(
            "p",
            tag("span", "waited", class_="key wait"),
            tag("span", "worked on", class_="key work"),
            tag("span", "failed attempt", class_="key failed"),
            class_="note",
        ),
        tag("ol", [_place(place, journey, scale) for place in journey.places], class_="timeline"),
        _dead_letter(journey),
        tag("h2", "Record at its end", " (only its beginning was kept)" if journey.is_cut else None),
        tag("pre", orjson.dumps(journey.record, option=orjson.OPT_INDENT_2).decode()),
        _source_message(journey),
    ]
    return tag("article", parts)


def _replay(at: float, by: str, reason: str, was_edited: bool) -> Markup:
    edited = ", with another content" if was_edited else ""
    return tag("p", "Replayed ", moment(iso(at)), f" by {by}{edited}. It was dead for: {reason}", class_="note")


def _place(place: Passage, journey: Timeline, scale: Scale) -> Markup:
    return tag(
        "li",
        tag("h3", place.place),
        bar(place, scale),
        tag("p", [tag("span", fact) for fact in _times(place, journey.entered)], class_="facts"),
        _attempts(place, journey.entered),
        _waits(place, journey.entered),
        _replanned(place),
        _decision(place.decided),
    )


def _times(place: Passage, entered: float) -> Iterator[str]:
    if place.came is not None:
        yield f"came {place.came - entered:+,.3f} s"
    if place.waited is not None:
        yield f"waited {place.waited:,.3f} s"
    if place.worked is not None:
        yield f"worked on for {place.worked:,.3f} s"
    elif place.came is not None and place.waited is None:
        yield f"here for {place.left - place.came:,.3f} s"
    yield f"left {place.left - entered:+,.3f} s"


def _attempts(place: Passage, entered: float) -> Markup | None:
    if not place.attempts:
        return None
    rows = []
    for number, attempt in enumerate(place.attempts, 1):
        at = "" if attempt.at is None else f" at {attempt.at - entered:+,.3f} s"
        calls = tag("details", tag("summary", "Calls"), tag("pre", "\n".join(attempt.calls))) if attempt.calls else None
        rows.append(tag("li", tag("b", f"Attempt {number} failed{at}"), f": {attempt.cause}", calls))
    return tag("ul", rows, class_="attempts")


def _waits(place: Passage, entered: float) -> Markup | None:
    waits = place.waits
    if waits is None:
        return None
    since = waits.since - entered
    return tag("p", f"Its service asked to wait, {counted(waits.times, 'time')}, first at {since:+,.3f} s.")


def _replanned(place: Passage) -> Markup | None:
    if place.replanned is None:
        return None
    fields: list[object] = []
    for number, name in enumerate(place.replanned):
        fields += [", " if number else "", tag("code", name)]
    return tag("p", "The plan was made anew, since the stop changed ", fields or "a field that it was built on", ".")


def _decision(decided: Decided) -> Markup:
    parts: list[object] = ["→ ", tag("b", decided.to)]
    if decided.rule is not None:
        parts += [" by the rule ", tag("q", decided.rule)]
    if decided.version:
        link = tag("a", f"version {decided.version}", href=f"/rules/{decided.version}/")
        parts += [" of ", link] if decided.rule is not None else [", by ", link, " of the rules"]
    if decided.by:
        parts.append(f", decided by {decided.by}")
    return Markup(tag("p", parts, class_="decision") + markup(_read(decided)))


def _read(decided: Decided) -> Markup | None:
    if decided.certainty in UNREAD:
        return tag("p", UNREAD[decided.certainty], class_="note") if decided.rule is not None else None
    if not decided.tried:
        return None
    rows = [
        [
            "holds" if one.holds else "",
            one.rule,
            one.verdict if not one.holds else "",
            [tag("code", f"{name} = {value}") for name, value in one.read.items()],
        ]
        for one in decided.tried
    ]
    before = f", after {counted(decided.more_tried, 'rule')} that did not hold" if decided.more_tried else ""
    return tag(
        "details",
        tag("summary", f"{READ[decided.certainty]}{before}"),
        grid(["", "Rule", "Verdict", "Read"], rows),
    )


def _dead_letter(journey: Timeline) -> Markup | None:
    if journey.outcome != "dead":
        return None
    address = f"/dead-letters/?id={quote(journey.id, safe='')}"
    command = tag("code", f"metroline dead-letters show {journey.id}")
    return tag("p", tag("a", "The dead letter", href=address), ", also with ", command, class_="note")


def _source_message(journey: Timeline) -> Markup | None:
    rows: list[list[object]] = [["key", journey.key]] if journey.key is not None else []
    rows += [[f"header {name}", value] for name, value in journey.headers]
    return Markup(tag("h2", "Source message") + grid(["", "Value"], rows)) if rows else None
