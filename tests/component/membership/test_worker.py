"""Live workers are known to each other, and two role assignments of a line do not run side by side."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from metroline.agents.membership.worker import ALIVE_SECONDS, LiveWorkers, WorkerInfo

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


def workers(*known: WorkerInfo) -> LiveWorkers:
    observed = LiveWorkers()
    for worker in known:
        observed.observe(orjson.dumps(worker.as_json()))
    return observed


def test_a_worker_is_alive_until_its_announcement_is_too_old_or_it_says_that_it_is_gone() -> None:
    assert workers(OLD).alive(now=100.0) == [OLD]
    assert workers(OLD).alive(now=OLD.at + ALIVE_SECONDS + 0.1) == []
    assert workers(OLD, replace(OLD, gone=True)).alive(now=100.0) == []
    assert workers(replace(OLD, gone=True), replace(OLD, at=100.0)).alive(now=100.0) == [replace(OLD, at=100.0)]


def test_the_stops_that_are_served_are_those_of_live_workers() -> None:
    other = replace(OLD, id="other", stops=("b", "c"))

    assert workers(OLD, other).stops(now=100.0) == {"a", "b", "c"}
    assert workers(OLD, replace(other, gone=True)).stops(now=100.0) == {"a"}


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b"7", b"{}", b'{"id":"x"}', b"\xff", b'"text"'])
def test_what_is_no_announcement_is_passed_by(value: bytes | None) -> None:
    observed = workers(OLD)

    observed.observe(value)

    assert observed.alive(100.0) == [OLD]


@pytest.mark.parametrize(
    ("name", "value"),
    [("id", ["l"]), ("at", "x"), ("stops", [["q"]]), ("parts", 7), ("started", "x"), ("version", -1), ("url", None)],
)
def test_an_announcement_with_strange_values_is_passed_by(name: str, value: object) -> None:
    observed = workers(OLD)

    observed.observe(orjson.dumps(replace(OLD, id="strange").as_json() | {name: value}))

    assert observed.alive(100.0) == [OLD]
    assert observed.stops(100.0) == {"a"}
    assert not list(observed.conflicts(OLD, 100.0))


def test_a_worker_is_refused_while_one_of_another_role_assignment_that_started_first_is_alive() -> None:
    [refused] = workers(OLD).conflicts(ME, now=100.0)

    told = str(refused)
    assert told.startswith("router is played by a live worker of another role assignment (line@all at http://there)")
    assert "metroline hand-over" in told
    assert "\n" not in told


def test_of_two_that_start_at_once_exactly_one_gives_way() -> None:
    twin = replace(OLD, started=ME.started)
    refused = [me for me, other in ((ME, twin), (twin, ME)) if list(workers(other).conflicts(me, now=100.0))]

    assert len(refused) == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(OLD, group=ME.group, parts=ME.parts),
        replace(OLD, parts=("arrivals", "service:a")),
        replace(OLD, gone=True),
        replace(OLD, at=100.0 - ALIVE_SECONDS),
        replace(OLD, started=200.0),
    ],
    ids=["the same role", "no part in common", "gone", "silent", "it came later"],
)
def test_who_is_not_in_the_way(other: WorkerInfo) -> None:
    assert not list(workers(other).conflicts(ME, now=100.0))


def test_two_on_ramps_share_a_group_under_every_role_assignment() -> None:
    on_ramp = replace(ME, parts=("on-ramp",), group="line@on-ramp")

    other = replace(OLD, parts=("arrivals", "on-ramp"), group="line@arrivals+on-ramp")
    assert not list(workers(other).conflicts(on_ramp, now=100.0))


def test_an_end_that_a_live_worker_does_not_know_is_told_with_the_workers_address() -> None:
    knows = replace(ME, ends=("end", "shipped"))
    assert workers(knows).without_end("shipped", 100.0) == []
    assert workers(knows, OLD).without_end("shipped", 100.0) == ["http://there"]
    assert workers(knows, OLD).without_end("shipped", 100.0, "no such part") == []
    assert workers(knows, OLD).without_end("shipped", 100.0, OLD.parts[0]) == ["http://there"]
    assert workers(knows, OLD).ends(100.0) == {"end", "shipped"}
    of_before = {name: value for name, value in ME.as_json().items() if name != "ends"}
    assert WorkerInfo.of_json(of_before).ends == ()


def test_how_far_others_are_behind_leaves_out_this_worker_and_old_announcements() -> None:
    slow, old = replace(OLD, id="slow", at=100.0, behind=2.0), replace(OLD, id="old", at=95.0, behind=9.0)
    assert workers(slow, old, replace(ME, at=100.0, behind=5.0)).others_behind(ME.id, 100.0) == 2.0
    assert workers(replace(ME, at=100.0, behind=5.0)).others_behind(ME.id, 100.0) == 0.0
