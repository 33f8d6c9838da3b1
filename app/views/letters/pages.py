"""Dead letters for browsers: their groups, the letters of a group, and one letter with all that was done to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from faust import web

from metroline.app.markup.html import Markup, grid, markup, moment, number, tag
from metroline.app.markup.numbers import count, counted
from metroline.app.markup.times import iso
from metroline.app.operations.letter import Group, Letter
from metroline.app.operations.letter_journal import LetterEntry, entry_text
from metroline.app.operations.replay_jobs import JobAnswer, described
from metroline.app.views.access.forms import form
from metroline.app.views.paging import next_link
from metroline.routing.journeys.replay_job_messages import Act
from metroline.routing.journeys.replay_jobs import Job

PATH = "/dead-letters/"
JOBS_PATH = f"{PATH}jobs/"

NOTHING = "Nothing so far."


def field(label: str, name: str, value: object = "", **attributes: object) -> Markup:
    """Return an input with its label."""
    return tag("p", tag("label", f"{label} ", tag("input", name_=name, value=value, **attributes)))


def text_area(label: str, name: str, value: str, rows: int) -> Markup:
    """Return an input of several lines with its label."""
    box = tag("textarea", Markup("\n"), value, name_=name, rows=rows, cols=72, spellcheck="false")
    return tag("p", tag("label", f"{label} ", box))


def hidden(name: str, value: str) -> Markup:
    return tag("input", type="hidden", name_=name, value=value)


def button(text: str, name: str | None = None, value: str | None = None) -> Markup:
    return tag("button", text, name_=name, value=value)


def stop_choice(stops: Collection[str]) -> Markup:
    """Return the choice of the stop to which dead letters go."""
    options = [tag("option", "the source, where the rules decide", value="")]
    options += [tag("option", stop, value=stop) for stop in sorted(stops)]
    return tag("p", tag("label", "Send to ", tag("select", options, name_="to")))


def link(path: str, text: object, **query: str) -> Markup:
    return tag("a", text, href=f"{path}?{urlencode(query)}" if query else path)


def groups_page(
    groups: Sequence[Group],
    following: str | None,
    jobs: Iterable[Job],
    asked: Mapping[str, str],
    *,
    has_foreign: bool = False,
) -> Markup:
    """Return the page of the groups that were `asked` for, the largest one first, with the jobs that are not closed.

    `following` is the address of the next page. `has_foreign` is True if the line reads dead letters of other systems.
    """
    total = sum(group.count for group in groups)
    rows = [
        [
            link(PATH, group.id, group=group.id),
            number(group.count),
            group.cause[0],
            group.cause[1],
            group.reason.removeprefix(f"{group.cause[1]}: "),
            moment(iso(group.first)),
            moment(iso(group.last)),
            link(PATH, group.example, id=group.example),
        ]
        for group in groups
    ]
    heads = ["Group", "Letters#", "Stop", "Kind", "Reason", "First", "Last", "Example"]
    chosen = ", ".join(f"{name} {value}" for name, value in asked.items())
    only = tag("p", f"Only those of {chosen}. ", link(PATH, "All dead letters")) if chosen else None
    shown = (
        grid(heads, rows)
        if rows
        else tag("p", "There are no such dead letters." if chosen else "There are no dead letters.")
    )
    is_whole = following is None
    facts = show_facts({"dead letters" if is_whole else "on this page": count(total), "causes": len(groups)})
    foreign = tag("p", link(f"{PATH}foreign/", "Dead letters of other systems")) if has_foreign else None
    return markup([facts, _open_jobs(jobs), tag("h2", "By cause"), only, shown, next_link(following), foreign])


def _open_jobs(jobs: Iterable[Job]) -> Markup:
    shown = list(jobs)
    every = tag("p", link(JOBS_PATH, "All replay jobs"))
    if not shown:
        return every
    return markup([tag("h2", "Jobs under way"), jobs_grid(shown), every])


def jobs_grid(jobs: Iterable[Job]) -> Markup:
    """Return a table of jobs."""
    heads = [
        *(
            "Job",
            "What",
            "State",
            "Letters#",
            "Done#",
            "Delivered or dropped#",
            "Dead again#",
            "Under way#",
            "Left out#",
        ),
        *("Started", "By", "Reason"),
    ]
    return grid(heads, [_job_row(described(job)) for job in jobs])


def _job_row(job: JobAnswer) -> list[object]:
    figures = (job.total, job.replayed, job.ended, job.dead_again, job.under_way, sum(job.left_out.values()))
    return [
        link(JOBS_PATH, job.job, job=job.job),
        job.act,
        job.state,
        *map(number, figures),
        moment(iso(job.at)),
        job.by,
        job.reason,
    ]


def group_page(
    request: web.Request, group: str, letters: Sequence[Letter], following: str | None, stops: Collection[str]
) -> Markup:
    """Return letters of a group, and what can be done about all of them.

    `following` is the address of the next page.
    """
    rows = [
        [
            link(PATH, letter.id, id=letter.id),
            moment(iso(letter.settled)),
            number(letter.envelope.segments[0].generation),
            letter.reason,
        ]
        for letter in letters
    ]
    start = form(
        request,
        f"{JOBS_PATH}start/",
        hidden("group", group),
        text_area("Set fields first, one FIELD=VALUE in each line", "set", "", 2),
        stop_choice(stops),
        field("Steps", "ramp", "1,10,100,1000"),
        field("Letters a second", "rate", "100", inputmode="decimal"),
        field("Stop when more than this share is dead again", "stop_at", "5%"),
        field("Reason", "reason", maxlength=500),
        tag("p", button("Replay all of them"), " ", button("Only show where they would go", "dry_run", "true")),
    )
    discard = form(
        request,
        f"{JOBS_PATH}start/",
        hidden("group", group),
        hidden("discard", "true"),
        field("Reason", "reason", required="required", maxlength=500),
        button("Discard all of them"),
    )
    heads = ["Dead letter", "Died", "Dead before#", "Reason"]
    acts = [tag("h2", "Replay"), start, tag("h2", "Discard"), discard]
    return markup([tag("p", link(PATH, "All causes")), grid(heads, rows), next_link(following), acts])


def letter_page(request: web.Request, letter: Letter, entries: Sequence[LetterEntry], stops: Collection[str]) -> Markup:
    """Return everything that is known about a dead letter. `entries` are those of the journal."""
    told = letter.as_json()
    origin = f"{told['topic']}, partition {told['partition']}, offset {told['offset']}"
    facts = {"group": link(PATH, letter.group, group=letter.group), "dead before": told["generation"]}
    parts = [
        tag("p", told["reason"], class_="warning"),
        show_facts(facts),
        tag("h2", "Timeline"),
        _timeline(told),
        tag("h2", "Attempts"),
        _attempts(told),
        tag("h2", "All that was done to it"),
        _journal(told, entries),
        tag("h2", "Source message"),
        tag("p", origin),
        show_headers(told),
        tag("h2", "Record" + (", of which only a part was kept" if letter.is_cut else "")),
    ]
    record = orjson.dumps(told["record"], option=orjson.OPT_INDENT_2).decode()
    if letter.is_replayable:
        parts.append(
            form(
                request,
                f"{PATH}replay/",
                hidden("ids", letter.id),
                text_area("Record, as it is replayed", "record", record, min(24, record.count("\n") + 3)),
                stop_choice(stops),
                tag("p", button("Replay"), " ", button("Only show where it would go", "dry_run", "true")),
            )
        )
    else:
        parts.append(tag("pre", record))
    discard = [
        hidden("ids", letter.id),
        field("Reason", "reason", required="required", maxlength=500),
        button("Discard"),
    ]
    return markup([*parts, tag("h2", "Discard"), form(request, f"{PATH}discard/", *discard)])


def done_page(done: dict[str, Any]) -> Markup:
    """Return what a replay or a discard has done, or where dead letters would go."""
    facts: dict[str, object] = {name: done[name] for name in ("replayed", "discarded") if name in done}
    path, more = (f"{PATH}foreign/", {"topic": done["topic"]}) if "topic" in done else (PATH, {})

    def letter(name: str) -> Markup:
        return link(path, name, **more, id=name)

    ways = [tag("li", letter(name), f" → {way}") for name, way in done.get("would_go", {}).items()]
    dead = [tag("li", letter(name), f": {why}") for name, why in done.get("still_dead", {}).items()]
    parts = [
        show_facts(facts) if facts else None,
        [tag("h2", "Where they would go"), tag("ul", ways)] if ways else None,
        [tag("h2", "Still dead"), tag("ul", dead)] if dead else None,
    ]
    return markup([parts, tag("p", link(PATH, "All dead letters"))])


def job_page(request: web.Request, job: Job, journal: Sequence[tuple[float, str]], orders: Sequence[str]) -> Markup:
    """Return a job with its progress, all that was done to it, and the orders that it can be given."""
    told = described(job)
    done = "discarded" if job.act is Act.DISCARD else "replayed"
    facts: dict[str, object] = {
        "letters": told.total,
        done: told.replayed,
        "did not come back" if told.topic else "delivered or dropped": told.ended,
        "dead again": told.dead_again,
        "under way": told.under_way,
        "left out": sum(told.left_out.values()),
    }
    note = told.note if told.is_taken_up else "no worker has taken it up yet"
    state = tag("p", f"{told.state}{f': {note}' if note else ''}, as of ", moment(iso(told.updated)))
    edits = ", ".join(f"{name} = {orjson.dumps(value).decode()}" for name, value in told.set.items())
    asked: dict[str, object] = {"dead letters": _letters_of(told), "letters a second": f"{told.rate:g}"}
    if job.act is Act.REPLAY:
        asked |= {
            "send to": "their own topics" if told.topic else told.to or "the source",
            "set first": edits or "nothing",
            "steps": ", ".join(map(str, told.ramp)),
            "stops when more are dead again than": f"{100 * told.stop_at:g} %",
        }
    left_out = [tag("li", f"{count(number_of)}: {reason}") for reason, number_of in told.left_out.items()]
    buttons = [" ", [[button(order.capitalize(), "wish", order), " "] for order in orders]]
    ask = form(
        request,
        f"{JOBS_PATH}ask/",
        hidden("job", told.job),
        field("Reason", "reason", maxlength=500),
        tag("p", buttons),
    )
    return markup(
        [
            state,
            tag(
                "progress",
                f"{told.replayed} of {told.total}",
                max=max(1, told.total),
                value=told.replayed,
                aria_label=done,
            ),
            show_facts(facts),
            ask if orders else None,
            [tag("h2", "Left out"), tag("ul", left_out)] if left_out else None,
            tag("h2", "Asked for"),
            grid(["What", "Value"], [[name, value] for name, value in asked.items()]),
            tag("h2", "All that was done to it"),
            tag("ol", [tag("li", moment(iso(at)), f" {entry}") for at, entry in journal]),
            tag("p", link(JOBS_PATH, "All replay jobs")),
        ]
    )


def _letters_of(told: JobAnswer) -> object:
    """Return which letters a job has."""
    if told.group is None:
        return ", ".join(told.ids) + (f" of {told.topic}" if told.topic else "")
    if told.topic is None:
        return link(PATH, f"group {told.group}", group=told.group)
    return link(f"{PATH}foreign/", f"group {told.group} of {told.topic}", topic=told.topic, group=told.group)


def _timeline(told: dict[str, Any]) -> Markup:
    events: list[tuple[float, str, str]] = [(told["entered"], "entered", f"by {told['strategy']}")]
    for visit in told["stops"]:
        rule = "" if visit["rule"] is None else f"by the rule {visit['rule']!r} of version {visit['version']}"
        events.append((visit["at"], visit["stop"], rule))
    for waits in [*told["waited"], *([told["waits"]] if told["waits"] else [])]:
        times = counted(waits["times"], "time") + (f": {waits['progress']}" if waits["progress"] else "")
        events.append((waits["since"], f"began to wait at {waits['stop']}", times))
    events.sort(key=lambda event: event[0])
    events.append((told["settled"], "dead", f"after {counted(told['bus_hops'], 'hop')} on the bus"))
    rows = [
        [moment(iso(at), is_precise=True), number(f"{at - told['entered']:+.3f} s"), what, how]
        for at, what, how in events
    ]
    return grid(["Time", "Since it entered#", "Event", "Decided"], rows)


def _attempts(told: dict[str, Any]) -> Markup:
    if not told["attempts"]:
        return tag("p", "No service failed.")
    traces = told["tracebacks"] + [[]] * len(told["attempts"])
    items = []
    for cause, trace in zip(told["attempts"], traces, strict=False):
        calls = tag("details", tag("summary", "Traceback"), tag("pre", "\n".join(trace))) if trace else None
        items.append(tag("li", cause, calls))
    return tag("ol", items)


def gone_page(name: str, entries: Sequence[LetterEntry]) -> Markup:
    """Return the page of a letter that was replayed or discarded: all that was done to it."""
    return markup(
        [
            tag("p", "It is no dead letter any more: it was replayed or discarded.") if entries else None,
            tag("p", link(f"/journeys/{quote(name, safe='')}", "Its journeys")),
            tag("h2", "All that was done to it"),
            tag("ol", [tag("li", show_entry(entry)) for entry in entries]) if entries else tag("p", NOTHING),
            tag("p", link(PATH, "All dead letters")),
        ]
    )


def show_entry(entry: LetterEntry) -> list[object]:
    """Return what was done to a letter as a line, with the record that took its place."""
    parts: list[object] = [moment(iso(entry.at)), f" {entry_text(entry)}"]
    if entry.job is not None:
        parts += [" (", link(JOBS_PATH, "the job", job=entry.job), ")"]
    if entry.record is not None:
        parts.append(tag("details", tag("summary", "Record as it was replayed"), tag("pre", entry.record)))
    return parts


def _journal(told: dict[str, Any], entries: Sequence[LetterEntry]) -> Markup:
    """Return what was done to a letter that is dead: what its record says of earlier times, and what the journal adds.

    A replay or discard of the letter as it is now has had no effect, since it is still dead: its request is on the way,
    or a command noted it and was killed before it was sent. Of a job, its state says as much.
    """
    items: list[tuple[float, Markup]] = []
    for replay in told["replays"]:
        edited = None
        if replay["before"] is not None:
            edited = tag("details", tag("summary", "Edited; before that"), tag("pre", replay["before"]))
        done = [moment(iso(replay["at"])), f" replayed by {replay['by']}; it was dead for {replay['reason']}"]
        items.append((replay["at"], tag("li", done, edited)))
    for entry in entries:
        if entry.generation >= told["generation"]:
            effect = "; it has had no effect so far" if entry.job is None else None
            items.append((entry.at, tag("li", show_entry(entry), effect)))
    items.sort(key=lambda item: item[0])
    return tag("ol", [item for _, item in items]) if items else tag("p", NOTHING)


def show_headers(told: dict[str, Any]) -> Markup | None:
    """Return the key and the headers of a message."""
    rows = [["key", told["key"]]] if told["key"] is not None else []
    rows += [[f"header {name}", value] for name, value in told["headers"]]
    return grid(["Of the message", "Value"], rows) if rows else None


def show_facts(facts: dict[str, object]) -> Markup:
    """Return figures with their names."""
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()])
