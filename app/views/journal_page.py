"""The page of the journal: who did what to the line, and what changed, newest first."""

from __future__ import annotations

from faust import web
from msgspec import Struct

from metroline.app.markup.html import Markup, grid, markup, moment, tag
from metroline.app.markup.times import iso
from metroline.app.operations.journal import JournalEntry
from metroline.app.views.operation import Operation
from metroline.app.views.view import LineView


class JournalPage(Struct, frozen=True):
    """The newest entries of the journal."""

    entries: list[JournalEntry]
    problems: list[str]
    """The reasons why something is missing here."""


class JournalView(LineView):
    """Publications, replay jobs and orders to them, replays, discards, hand-overs, and workers that came or went."""

    api = (Operation("get", "The journal: who did what, and what changed, newest first", JournalPage),)

    async def get(self, request: web.Request) -> web.Response:
        journal = self.worker.journal
        problems = await journal.read()
        page = JournalPage(journal.entries(), problems)
        return self.answer(request, "Journal", page, lambda: _show(page))


def _show(page: JournalPage) -> Markup:
    rows = [
        [
            moment(iso(one.at)),
            one.by,
            tag("a", one.text, href=one.href) if one.href else one.text,
            one.reason,
        ]
        for one in page.entries
    ]
    missing = [tag("p", f"Something is missing here: {problem}", class_="warning") for problem in page.problems]
    shown = grid(["Time", "By", "Event", "Reason"], rows) if rows else tag("p", "Nothing so far.")
    return markup([missing, shown])
