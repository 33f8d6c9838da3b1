"""Replay and discard over HTTP: only requests with the token and a valid body are carried out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import pytest

from metroline.agents.tables.live_rules import LiveRules
from metroline.app.operations.desk import Desk
from metroline.app.operations.letter import Letter
from metroline.routing.journeys.dead_letters import kept
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.strategies import RuleTables
from tests.support.web_worker import TOKEN, Start, WebWorker

GIVEN = {"Authorization": f"Bearer {TOKEN}"}


async def post(worker: WebWorker, what: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, str]:
    url = f"{worker.url}/dead-letters/{what}/"
    async with worker.client.post(url, json=body, headers=headers) as response:
        return response.status, str((await response.json())["error"])


async def writable(start: Start) -> WebWorker:
    return await start(metroline_token=TOKEN)


@pytest.mark.parametrize("what", ["replay", "discard"])
async def test_without_a_token_in_the_settings_nobody_can_write(start: Start, what: str) -> None:
    status, error = await post(await start(), what, {"ids": ["source-0-1"]}, GIVEN)
    assert status == HTTPStatus.FORBIDDEN
    assert "METROLINE_TOKEN" in error


@pytest.mark.parametrize("headers", [None, {"Authorization": "Bearer another"}, {"Authorization": TOKEN}])
async def test_another_token_is_refused(start: Start, headers: dict[str, str] | None) -> None:
    status, error = await post(await writable(start), "replay", {"ids": ["source-0-1"]}, headers)
    assert status == HTTPStatus.UNAUTHORIZED
    assert "Authorization: Bearer TOKEN" in error


@pytest.mark.parametrize(
    ("what", "body", "problem"),
    [
        ("replay", {"ids": ["x"], "colour": 1}, "colour"),
        ("replay", {"ids": ["x"], "rate": 0}, "rate"),
        ("discard", {"ids": ["x"]}, "reason"),
        ("replay", [], "body"),
    ],
)
async def test_a_body_of_another_shape_is_refused_with_what_is_wrong(
    start: Start, what: str, body: Any, problem: str
) -> None:
    status, error = await post(await writable(start), what, body, GIVEN)
    assert status == HTTPStatus.BAD_REQUEST
    assert problem in error


@pytest.mark.parametrize("body", [{}, {"ids": ["x"], "group": "abc"}])
async def test_dead_letters_are_selected_by_ids_or_by_group(start: Start, body: dict[str, Any]) -> None:
    status, error = await post(await writable(start), "replay", body, GIVEN)
    assert status == HTTPStatus.CONFLICT
    assert "either by their ids or by their group" in error


async def test_a_replay_reads_messages_again_and_names_those_that_stay_dead(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def letter(offset: int, raw: bytes) -> Letter:
        dead = Outcome.dead(Cause.MALFORMED_RECORD, "it was read as Avro")
        segment = Segment((offset,), (kept(raw),), 900.0, outcome=dead)
        return Letter(Envelope("signpost", Origin("source", 0), (segment,)), 950.0)

    async def chosen(*_: object) -> AsyncIterator[list[Letter]]:
        yield [letter(0, b'{"readable": true}'), letter(1, b"nothing")]

    monkeypatch.setattr(Desk, "chosen", chosen)
    worker = await writable(start)
    table = worker.app.live_rules.from_file
    monkeypatch.setattr(LiveRules, "rule_tables", RuleTables(table, table))
    asked = {"ids": ["source-0-0", "source-0-1"], "dry_run": True}

    async with worker.client.post(f"{worker.url}/dead-letters/replay/", json=asked, headers=GIVEN) as response:
        told = await response.json()

    assert (response.status, list(told["would_go"])) == (HTTPStatus.OK, ["source-0-0"])
    assert list(told["still_dead"]) == ["source-0-1"]
    assert "JSON" in told["still_dead"]["source-0-1"]
