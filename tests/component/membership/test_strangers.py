"""Announcements that no worker of the line made change nothing, and are counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.membership.heartbeat import Heartbeat
from metroline.agents.membership.signatures import Signatures
from metroline.agents.membership.worker import (
    ALIVE_SECONDS,
    MAX_BYTES,
    MAX_KNOWN,
    ConflictingRoles,
    LiveWorkers,
    WorkerInfo,
)

NOW = 1_000.0
TOPIC = "line.workers"
ONE = WorkerInfo("line@all/1", "line@all", ("arrivals",), (), "signpost", "http://there:6066", 1, 50.0, NOW - 1)
ME = replace(ONE, id="line@arrivals/2", group="line@arrivals", url="http://here:6066", started=100.0, at=NOW)
KEY = "a key of sixteen or more"


def observed(*announcements: dict[str, Any] | WorkerInfo, key: str | None = None) -> tuple[LiveWorkers, int]:
    """Return the workers that are known by announcements, and the number of those that were left out."""
    foreign = ForeignMessages()
    workers = LiveWorkers(Signatures(TOPIC, key), foreign)
    for one in announcements:
        told = one.as_json() if isinstance(one, WorkerInfo) else one
        workers.observe(orjson.dumps(told), NOW, TOPIC)
    return workers, foreign.counts[TOPIC]


@pytest.mark.parametrize("at", [1e18, 1e300, -1, "nan", None, NOW + 1e6])
def test_a_clock_that_is_wrong_makes_no_worker(at: object) -> None:
    workers, left_out = observed(ONE, ONE.as_json() | {"id": "stranger", "at": at})
    assert workers.alive(NOW) == [ONE]
    assert left_out == 1


def test_a_clock_that_is_a_little_ahead_makes_a_worker_live_no_longer_than_others() -> None:
    workers, left_out = observed(replace(ONE, at=NOW + 200))
    assert left_out == 0
    assert len(workers.alive(NOW + ALIVE_SECONDS - 0.1)) == 1
    assert not workers.alive(NOW + ALIVE_SECONDS + 0.1)


@pytest.mark.parametrize(
    "url",
    [
        *("http://there:6066/#", "http://there:6066/x", "http://there:6066?x=", "http://a:b@there:6066", "ftp://there"),
        *("there:6066", "", "javascript:alert(1)", "http://", "http://the re", "http://there:6066\n", "http://a" * 99),
    ],
)
def test_only_a_host_and_a_port_are_the_address_of_a_worker(url: str) -> None:
    workers, left_out = observed(ONE.as_json() | {"url": url})
    assert not workers.alive(NOW)
    assert left_out == 1


@pytest.mark.parametrize("url", ["http://there:6066", "https://there", "http://[::1]:6066", "http://10.0.0.1:6066/"])
def test_the_address_of_a_web_server_is_one(url: str) -> None:
    workers, _ = observed(replace(ONE, url=url))
    assert [worker.url for worker in workers.alive(NOW)] == [url]


def test_of_thousands_of_strangers_some_are_remembered_and_the_workers_that_were_known_stay() -> None:
    strangers = [replace(ONE, id=f"stranger/{number}", at=NOW) for number in range(MAX_KNOWN + 500)]
    workers, left_out = observed(ONE, *strangers)
    known = workers.alive(NOW)
    assert ONE in known
    assert len(known) == MAX_KNOWN
    assert left_out == 501
    workers.observe(orjson.dumps(replace(ME, at=NOW + 60).as_json()), NOW + 60, TOPIC)
    assert [worker.id for worker in workers.alive(NOW + 60)] == [ME.id], "those that are dead by then make room"


def test_an_announcement_that_is_too_large_is_left_out() -> None:
    workers, left_out = observed(ONE.as_json() | {"stops": ["x" * 100] * (MAX_BYTES // 100)})
    assert not workers.alive(NOW)
    assert left_out == 1


def test_with_a_key_only_what_was_signed_with_it_counts() -> None:
    signatures = Signatures(TOPIC, KEY)
    signed = signatures.signed(ONE.as_json())
    forged = [
        ONE.as_json() | {"id": "unsigned"},
        signed | {"id": "another"},
        Signatures(TOPIC, KEY + "!").signed(ONE.as_json() | {"id": "another key"}),
        Signatures("other.workers", KEY).signed(ONE.as_json() | {"id": "another line"}),
        ONE.as_json() | {"id": "no text", "signature": 7},
        ONE.as_json() | {"id": "no ASCII", "signature": "é"},
    ]
    workers, left_out = observed(signed, *forged, key=KEY)
    assert workers.alive(NOW) == [ONE]
    assert left_out == len(forged)


def test_workers_without_the_key_see_those_that_have_it_already_while_it_is_introduced_one_by_one() -> None:
    workers, left_out = observed(Signatures(TOPIC, KEY).signed(ONE.as_json()), key=None)
    assert workers.alive(NOW) == [ONE]
    assert not left_out


def test_a_signed_announcement_that_somebody_repeats_changes_nothing() -> None:
    signatures = Signatures(TOPIC, KEY)
    before = signatures.signed(replace(ONE, at=NOW - 5, gone=True).as_json())
    workers, _ = observed(signatures.signed(ONE.as_json()), before, key=KEY)
    assert workers.alive(NOW) == [ONE]


class Groups:
    """The groups of a cluster, of which some have members."""

    def __init__(self, *groups: str) -> None:
        self.groups = groups

    async def has_members(self, group: str) -> bool:
        return group in self.groups


def heartbeat(workers: LiveWorkers, *groups: str) -> Heartbeat:
    async def announce(key: bytes, value: bytes) -> Confirmation:
        raise AssertionError("it says nothing here")

    made = Heartbeat(Cluster("127.0.0.1:1"), TOPIC, workers, lambda at, gone: ME, announce, lambda: NOW)
    cast(Any, made)._groups = Groups(*groups)
    return made


async def test_a_conflict_that_a_stranger_claims_ends_no_worker_and_one_of_a_group_with_members_does() -> None:
    workers, _ = observed(ONE)
    await heartbeat(workers)._refuse_conflicts()
    with pytest.raises(ConflictingRoles):
        await heartbeat(workers, ONE.group)._refuse_conflicts()


async def test_a_conflict_that_is_signed_is_one() -> None:
    workers, _ = observed(Signatures(TOPIC, KEY).signed(ONE.as_json()), key=KEY)
    with pytest.raises(ConflictingRoles):
        await heartbeat(workers)._refuse_conflicts()


def test_a_flood_of_foreign_messages_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    foreign = ForeignMessages(["t", "other"], lambda: now)
    for offset in range(10_000):
        foreign.leave_out("t", 0, offset, f"reason {offset}\n\x1b[2J")
    assert len(caplog.records) == 1
    now = 31.0
    foreign.leave_out("t", 0, 10_000, "again")
    assert "so were 9999 more before it" in caplog.text
    assert "\x1b" not in caplog.text
    assert dict(foreign.counts) == {"t": 10_001, "other": 0}
