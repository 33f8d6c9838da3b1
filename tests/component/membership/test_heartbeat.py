"""Presence: who is alive, and that no two cuts of a line run side by side."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from aiokafka.structs import ConsumerRecord

from metroline.agents.membership.heartbeat import ALIVE, ConflictingRoles, LiveWorkers, WorkerInfo

ME = WorkerInfo(
    id="line@router/http://here/1",
    group="line@router",
    parts=("router",),
    stops=(),
    strategy="signpost",
    url="http://here",
    version=1,
    started=100.0,
    at=100.0,
)
OLD = replace(ME, id="line@all/http://there/2", group="line@all", url="http://there", started=50.0, at=99.0)
OLD = replace(OLD, parts=("arrivals", "on-ramp", "router", "service:a"), stops=("a",))


def said(value: bytes | None) -> ConsumerRecord:
    return ConsumerRecord("line.workers", 0, 0, 0, 0, b"id", value, None, 0, 0, ())


def workers(*known: WorkerInfo) -> LiveWorkers:
    heard = LiveWorkers()
    for worker in known:
        heard.hear(said(orjson.dumps(worker.as_json())))
    return heard


def test_a_worker_is_alive_until_its_announcement_is_too_old_or_it_says_that_it_is_gone() -> None:
    assert workers(OLD).alive(now=100.0) == [OLD]
    assert workers(OLD).alive(now=OLD.at + ALIVE + 0.1) == []
    assert workers(OLD, replace(OLD, gone=True)).alive(now=100.0) == []
    assert workers(replace(OLD, gone=True), replace(OLD, at=100.0)).alive(now=100.0) == [replace(OLD, at=100.0)]


def test_the_stops_that_are_served_are_those_of_live_workers() -> None:
    other = replace(OLD, id="other", stops=("b", "c"))

    assert workers(OLD, other).stops(now=100.0) == {"a", "b", "c"}
    assert workers(OLD, replace(other, gone=True)).stops(now=100.0) == {"a"}


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b"7", b"{}", b'{"id":"x"}', b"\xff", b'"text"'])
def test_what_is_no_announcement_is_passed_by(value: bytes | None) -> None:
    heard = workers(OLD)

    heard.hear(said(value))

    assert heard.alive(100.0) == [OLD]


@pytest.mark.parametrize(
    ("name", "value"),
    [("id", ["l"]), ("at", "x"), ("stops", [["q"]]), ("parts", 7), ("started", "x"), ("version", -1), ("url", None)],
)
def test_an_announcement_with_strange_values_is_passed_by(name: str, value: object) -> None:
    heard = workers(OLD)

    heard.hear(said(orjson.dumps(replace(OLD, id="strange").as_json() | {name: value})))

    assert heard.alive(100.0) == [OLD]
    assert heard.stops(100.0) == {"a"}
    heard.guard(OLD, 100.0)


def test_a_worker_of_another_cut_that_was_there_first_is_in_the_way() -> None:
    with pytest.raises(ConflictingRoles) as refused:
        workers(OLD).guard(ME, now=100.0)

    told = str(refused.value)
    assert told.startswith("router is played by a live worker of another cut of roles (line@all at http://there)")
    assert "metroline hand-over" in told
    assert "\n" not in told


def test_of_two_that_start_at_once_exactly_one_gives_way() -> None:
    twin = replace(OLD, started=ME.started)
    refused = []
    for me, other in ((ME, twin), (twin, ME)):
        try:
            workers(other).guard(me, now=100.0)
        except ConflictingRoles:
            refused.append(me)

    assert len(refused) == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(OLD, group=ME.group, parts=ME.parts),
        replace(OLD, parts=("arrivals", "service:a")),
        replace(OLD, gone=True),
        replace(OLD, at=100.0 - ALIVE),
        replace(OLD, started=200.0),
    ],
    ids=["the same role", "no part in common", "gone", "silent", "it came later"],
)
def test_who_is_not_in_the_way(other: WorkerInfo) -> None:
    workers(other).guard(ME, now=100.0)


def test_two_on_ramps_share_a_group_under_every_cut() -> None:
    on_ramp = replace(ME, parts=("on-ramp",), group="line@on-ramp")

    workers(replace(OLD, parts=("arrivals", "on-ramp"), group="line@arrivals+on-ramp")).guard(on_ramp, now=100.0)
