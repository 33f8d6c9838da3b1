"""Dead letters of other systems for browsers: their topics and groups, the letters of a group, and one letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from faust import web

from metroline.app.markup.html import Markup, grid, markup, moment, number, tag
from metroline.app.markup.times import iso
from metroline.app.operations.foreign_index import ForeignGroup
from metroline.app.operations.foreign_letters import Found
from metroline.app.views.access.forms import form
from metroline.app.views.letters.pages import (
    JOBS_PATH,
    NOTHING,
    PATH,
    button,
    field,
    hidden,
    link,
    show_facts,
    show_headers,
)
from metroline.app.views.paging import next_link
from metroline.routing.journeys.replay_job_board import TakenEntry

FOREIGN_PATH = f"{PATH}foreign/"

MAX_SHOWN_BYTES = 64 * 1024
"""Bytes of a value that a page shows. As JSON, all of it is there."""

BYTES_AS_THEY_ARE = (
    "A replay writes the message to its own topic, byte for byte: value, key, timestamp and all headers but those of "
    "the error. The topic of dead letters stays as it is."
)


def topics_page(found: Mapping[str, Sequence[ForeignGroup] | str]) -> Markup:
    """Return the groups on each topic, or why a topic cannot be read."""
    if not found:
        return tag("p", "line.toml names no topics with dead letters of other systems: [dead_letters] lists them.")
    parts = []
    for topic, groups in found.items():
        shown = tag("p", groups, class_="warning") if isinstance(groups, str) else _groups(topic, groups)
        parts.append([tag("h2", topic), shown])
    return markup([parts, tag("p", link(PATH, "Dead letters of the line"))])


def _groups(topic: str, groups: Sequence[ForeignGroup]) -> Markup:
    rows: list[list[object]] = []
    for group in groups:
        one, example = group.example, "{}-{}".format(*next(group.listed()))
        rows.append(
            [
                link(FOREIGN_PATH, group.id, topic=topic, group=group.id),
                number(group.count),
                ", ".join(filter(None, (one.system, one.stage))),
                one.topic,
                f"{one.error}: {one.message[:200]}",
                moment(iso(group.first)),
                moment(iso(group.last)),
                link(FOREIGN_PATH, example, topic=topic, id=example),
            ]
        )
    heads = ["Group", "Letters#", "System", "Topic", "Error", "First", "Last", "Example"]
    return grid(heads, rows) if rows else tag("p", "There are no dead letters.")


def foreign_group_page(
    request: web.Request,
    topic: str,
    group: ForeignGroup,
    letters: Sequence[Found],
    following: str | None,
    refusal: str | None,
) -> Markup:
    """Return letters of a group, and what can be done about all of them. `refusal` is why none can be replayed.

    `following` is the address of the next page.
    """
    rows = [
        [link(FOREIGN_PATH, one.id, topic=topic, id=one.id), moment(iso(one.at)), one.letter.message[:200]]
        for one in letters
    ]
    goes = {"letters": group.count, "system": group.example.system, "replayed to": group.example.topic}
    acts = _acts(request, topic, "group", group.id, refusal, several=True)
    back = tag("p", link(FOREIGN_PATH, "All topics of other systems"))
    return markup(
        [back, show_facts(goes), grid(["Dead letter", "Written", "Message"], rows), next_link(following), acts]
    )


def foreign_letter_page(
    request: web.Request, topic: str, found: Found, refusal: str | None, entries: Sequence[TakenEntry]
) -> Markup:
    """Return everything that is known about a letter, and what was done to it. Gone ones are shown, too."""
    letter = found.letter
    place = "".join(
        f", {name} {value}"
        for name, value in (("partition", letter.partition), ("offset", letter.offset))
        if value is not None
    )
    told = found.as_json()
    value = found.value or b""
    cut = f", of which {MAX_SHOWN_BYTES:,} of {len(value):,} bytes are shown" if len(value) > MAX_SHOWN_BYTES else ""
    shown = tag("pre", value[:MAX_SHOWN_BYTES].decode(errors="replace")) if found.value is not None else "no value"
    trace = tag("details", tag("summary", "Stack trace"), tag("pre", letter.stacktrace)) if letter.stacktrace else None
    acts = _acts(request, topic, "ids", found.id, refusal, several=False)
    return markup(
        [
            tag("p", f"{letter.error}: {letter.message}", class_="warning"),
            show_facts(
                {"system": letter.system, "stage": letter.stage or "not named", "written": moment(iso(found.at))}
            ),
            tag("p", link(FOREIGN_PATH, f"Group {letter.group}", topic=topic, group=letter.group)),
            trace,
            tag("h2", "What its headers say of the error"),
            grid(["Header", "Value"], [list(one) for one in found.error_headers()]),
            tag("h2", "All that was done to it"),
            tag("ol", [tag("li", _entry(entry)) for entry in entries]) if entries else tag("p", NOTHING),
            tag("h2", "Message"),
            tag("p", f"{letter.topic}{place}"),
            show_headers(told),
            tag("h2", f"Value{cut}"),
            shown,
            acts if not entries else None,
        ]
    )


def _entry(entry: TakenEntry) -> list[object]:
    if entry.reason is not None:
        return [moment(iso(entry.at)), f" discarded by {entry.by}: {entry.reason}"]
    job: list[object] = [] if entry.job is None else [", in the replay job ", link(JOBS_PATH, entry.job, job=entry.job)]
    return [moment(iso(entry.at)), f" replayed by {entry.by}", job]


def _acts(request: web.Request, topic: str, by: str, name: str, refusal: str | None, *, several: bool) -> Markup:
    which = [hidden("topic", topic), hidden(by, name)]
    all_of_them = " all of them" if several else ""
    steps = [
        field("Steps", "ramp", "1,10,100,1000"),
        field("Letters a second", "rate", "100", inputmode="decimal"),
        field("Stop when more than this share comes back", "stop_at", "5%"),
        field("Seconds in which letters come back", "patience", "30", inputmode="decimal"),
    ]
    start = form(
        request,
        f"{JOBS_PATH}start/",
        which,
        steps if several else None,
        field("Reason", "reason", maxlength=500),
        tag(
            "p",
            button(f"Replay{all_of_them}"),
            " ",
            button(f"Only show where {'they' if several else 'it'} would go", "dry_run", "true"),
        ),
    )
    discard = form(
        request,
        f"{PATH}discard/",
        which,
        field("Reason", "reason", required="required", maxlength=500),
        button(f"Discard{all_of_them}"),
    )
    replay = [tag("p", BYTES_AS_THEY_ARE, class_="note"), start]
    refused = tag("p", f"It cannot be replayed: {refusal}.", class_="warning")
    return markup([tag("h2", "Replay"), refused if refusal else replay, tag("h2", "Discard"), discard])
