"""A worker that gets no nearer to a consumer group ends, unless nobody could."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from metroline.agents.kafka.absence_watch import CHECK_SECONDS, AbsenceWatch, Membership, Protocols, has_coordinator
from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.app.local.ports import free_port
from tests.support.brokers import Broker

LIMIT = 60.0
CHECKS = int(LIMIT / CHECK_SECONDS)
PROTOCOLS = [("roundrobin", b"nothing")]


@dataclass
class Watched:
    """A worker in two groups, whose memberships are set by a test."""

    is_joined: dict[str, bool] = field(default_factory=lambda: {"line@all": True, "line.on-ramp": True})
    progress: int = 0
    has_coordinator: bool = True
    asked: list[str] = field(default_factory=list)
    helped: list[tuple[str, object]] = field(default_factory=list)

    def memberships(self) -> list[Membership]:
        return [
            Membership(group, is_joined, self.progress, lambda: PROTOCOLS)
            for group, is_joined in self.is_joined.items()
        ]

    async def help_group(self, group: str, protocols: Protocols) -> None:
        self.helped.append((group, protocols))
        raise ClusterError("no broker answers")

    async def answers(self, group: str) -> bool:
        self.asked.append(group)
        return self.has_coordinator

    def watch(self) -> AbsenceWatch:
        return AbsenceWatch(LIMIT, self.memberships, self.answers, self.help_group, lambda: "commit (consumer.py:1)")


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def watch(watched: Watched) -> AbsenceWatch:
    return watched.watch()


async def checked(watch: AbsenceWatch, times: int) -> None:
    for _ in range(times):
        await watch.check()


@pytest.mark.parametrize("group", ["line@all", "line.on-ramp"])
async def test_a_worker_that_gets_no_nearer_to_a_group_ends_and_says_where_it_stands(
    group: str, watched: Watched, watch: AbsenceWatch, caplog: pytest.LogCaptureFixture
) -> None:
    watched.is_joined[group] = False
    await checked(watch, CHECKS)
    with pytest.raises(ClusterError, match=rf"outside of the consumer group {group} for 60 s, although the brokers"):
        await watch.check()
    assert watched.asked == [group] * CHECKS
    assert f"no nearer to the consumer group {group}: commit (consumer.py:1)" in caplog.text


async def test_one_that_gets_nearer_or_is_in_its_groups_does_not(watched: Watched, watch: AbsenceWatch) -> None:
    await checked(watch, 2 * CHECKS)
    watched.is_joined["line@all"] = False
    for _ in range(5):
        await checked(watch, CHECKS)
        watched.progress += 1
    await checked(watch, 1)
    watched.is_joined["line@all"] = True
    await checked(watch, 1)
    watched.is_joined["line@all"] = False
    await checked(watch, CHECKS)


@pytest.mark.parametrize("checks", [2, CHECKS, 3 * CHECKS])
async def test_time_without_a_coordinator_does_not_count_however_soon_it_is_back(
    checks: int, watched: Watched, watch: AbsenceWatch
) -> None:
    watched.is_joined["line@all"] = watched.has_coordinator = False
    await checked(watch, checks)
    watched.has_coordinator = True
    await checked(watch, CHECKS - 1)
    with pytest.raises(ClusterError):
        await watch.check()
    assert watched.helped == [("line@all", PROTOCOLS)] * 3, "none while nobody could help"


async def test_a_group_gets_help_after_ten_seconds_and_then_every_twenty(watched: Watched, watch: AbsenceWatch) -> None:
    watched.is_joined["line.on-ramp"] = False
    counts = []
    for _ in range(CHECKS):
        await watch.check()
        counts.append(len(watched.helped))
    assert counts == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3]
    assert watched.helped == [("line.on-ramp", PROTOCOLS)] * 3


async def test_the_coordinator_is_asked_for(embedded_broker: Broker) -> None:
    assert await has_coordinator(Cluster.at(embedded_broker.url), "line@all")
    assert not await has_coordinator(Cluster.at(f"kafka://127.0.0.1:{free_port()}"), "line@all")
