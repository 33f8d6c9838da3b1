"""Dead letters of other systems over HTTP: `/dead-letters/foreign/`, for the topics that `line.toml` names."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from faust import web
from msgspec import Meta, Struct

from metroline.agents.kafka.topic_tail import ReadRefused
from metroline.app.operations.desk import MAX_PAGE
from metroline.app.operations.foreign_letters import ForeignDesk, parse_place
from metroline.app.operations.letter import DeadLetterError
from metroline.app.views.letters.dead_letters import DeadLettersView, blueprint
from metroline.app.views.letters.foreign_pages import FOREIGN_PATH, foreign_group_page, foreign_letter_page, topics_page
from metroline.app.views.operation import Either, Error, Operation, Parameter
from metroline.app.views.paging import Paging
from metroline.app.views.view import wants_html
from metroline.routing.journeys.replay_job_board import TakenEntry


class ForeignTopic(Struct, frozen=True):
    """A topic with dead letters of another system."""

    topic: str
    letters: int
    """Number of dead letters that were neither replayed nor discarded."""
    groups: int
    left_out: int
    """Number of dead letters that are not listed, since there are too many."""
    error: str
    """Why the topic cannot be read; empty if it can."""


class ForeignGroupAnswer(Struct, frozen=True):
    """A group of dead letters of another system with one cause. Times are in seconds since the epoch."""

    group: str
    system: str
    topic: str
    stage: str
    error: str
    message: str
    count: int
    first: float
    last: float
    example: str


class ForeignLetterAnswer(Struct, frozen=True):
    """A dead letter of another system, with the topic of its message and everything that its headers say."""

    id: str
    group: str
    system: str
    topic: str
    partition: int | None
    offset: int | None
    at: float
    error: str
    message: str
    stage: str
    stacktrace: list[str]
    key: str | None
    headers: list[tuple[str, str | None]]
    value: str | None
    base64: str | None


@blueprint.route("/foreign/", name="foreign")
class ForeignLetters(DeadLettersView):
    """The topics with dead letters of other systems or, with `?topic=`, the groups of one, and letters."""

    api = (
        Operation(
            "get",
            "Topics with dead letters of other systems or, with `topic`, the groups of one or, with `group` or `id`, "
            "its dead letters",
            Either((list[ForeignTopic], list[ForeignGroupAnswer], list[ForeignLetterAnswer])),
            (
                Parameter("topic", "Topic, one of those that line.toml names in [dead_letters]"),
                Parameter("group", "Id of the group whose dead letters are listed"),
                Parameter("id", "Id of the only dead letter to list, also one that is gone: partition and offset"),
                Parameter("after", "Id of the last dead letter of the page before"),
                Parameter("limit", "Length of the page", Annotated[int, Meta(ge=1, le=MAX_PAGE)]),
            ),
            others={HTTPStatus.NOT_FOUND: Error},
        ),
    )

    async def get(self, request: web.Request) -> web.Response:
        return await self.read(request, self._get(request))

    async def _get(self, request: web.Request) -> web.Response:
        query = request.query
        if not (topic := query.get("topic")):
            return await self._topics(request)
        desk = self.foreign_desk(topic)
        if name := query.get("id"):
            return await self._letter(request, desk, name)
        if group := query.get("group"):
            return await self._group(request, desk, group, Paging.of(FOREIGN_PATH, query, "topic", "group"))
        groups = await desk.groups()
        if wants_html(request):
            return self.answer(request, f"Dead letters on {topic}", {}, lambda: topics_page({topic: groups}))
        return self.page(groups, None)

    async def _topics(self, request: web.Request) -> web.Response:
        found: dict[str, Any] = {}
        for topic, desk in self.worker.foreign_desks.items():
            try:
                found[topic] = await desk.groups()
            except (DeadLetterError, ReadRefused) as error:  # a topic that is closed or not there hides no other one
                found[topic] = str(error)
        if wants_html(request):
            return self.answer(request, "Dead letters of other systems", {}, lambda: topics_page(found))
        return self.respond([_told(topic, groups, self.worker.foreign_desks[topic]) for topic, groups in found.items()])

    async def _group(self, request: web.Request, desk: ForeignDesk, name: str, paging: Paging) -> web.Response:
        page = await desk.page(name, paging.after, paging.limit)
        following = paging.next(page.next)
        if not wants_html(request):
            return self.page(page.letters, following)
        group = await desk.group(name)
        refused = await desk.refusals({group.example.topic})
        refusal = refused.get(group.example.topic)
        body = foreign_group_page(request, desk.topic, group, page.letters, following, refusal)
        return self.answer(request, f"Dead letters {name}", {}, lambda: body)

    async def _letter(self, request: web.Request, desk: ForeignDesk, name: str) -> web.Response:
        place = parse_place(name)
        found = await desk.fetched([place])
        if not found:
            raise DeadLetterError(f"{name} is no dead letter on {desk.topic}, or was deleted")
        [letter] = found
        if not wants_html(request):
            return self.page([letter], None)
        _, taken = await desk.look()
        entries: list[TakenEntry] = [one for one in taken.entries.values() if place[1] in one.places.get(place[0], ())]
        refused = await desk.refusals({letter.letter.topic})
        body = foreign_letter_page(request, desk.topic, letter, refused.get(letter.letter.topic), entries)
        return self.answer(request, f"Dead letter {name}", {}, lambda: body)


def _told(topic: str, groups: Any, desk: ForeignDesk) -> dict[str, object]:
    error = groups if isinstance(groups, str) else ""
    listed = [] if error else groups
    letters = sum(group.count for group in listed)
    return {"topic": topic, "letters": letters, "groups": len(listed), "left_out": desk.left_out, "error": error}
