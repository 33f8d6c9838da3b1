"""A line divided into roles has the result of a single process, and two role assignments do not run side by side."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from aiokafka import TopicPartition

from metroline.app.local.worker_process import WorkerProcess
from metroline.routing.outcome import Ending
from tests.support.brokers import EMBEDDED_FIRST
from tests.support.cli import metroline
from tests.support.depot import Depot, check_ways, numbered


def command(depot: Depot, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `metroline` with the line's environment."""
    return metroline(*arguments, cwd=depot.folder, **depot.environment())


def sent_to(worker: WorkerProcess) -> set[str]:
    """Return the addresses to which a worker has sent."""
    metrics: Any = worker.get("/traffic/")
    return set(metrics["traffic"])


async def test_a_line_in_five_roles_does_what_one_process_does_and_two_of_one_role_share_its_work(depot: Depot) -> None:
    on_ramp, router, arrivals, *weighers, rest = (
        depot.start("conductor", role)
        for role in ("on-ramp", "router", "arrivals", *["service:weigh"] * 2, "service:crane,service:shelf")
    )
    await depot.ready()
    pushed = 0

    async def both_weigh() -> bool:
        nonlocal pushed
        await depot.push(numbered(range(pushed, pushed + 100)))
        pushed += 100
        await depot.settled(pushed)
        return all(sent_to(weigher) for weigher in weighers)

    await depot.until(both_weigh)

    check_ways((await depot.journeys()).values(), range(pushed))
    assert await depot.counts() == {Ending.DELIVERED: pushed * 9 // 10, Ending.DROPPED: pushed // 10}
    assert await depot.duplicates() == 0
    assert sent_to(on_ramp) == {"conductor"}
    assert sent_to(router) == {"service.weigh", "service.crane", "service.shelf", "arrivals"}
    assert [sent_to(weigher) for weigher in weighers] == [{"conductor"}, {"conductor"}]
    assert sent_to(rest) == {"conductor"}
    assert sent_to(arrivals) == {"delivered"}


@EMBEDDED_FIRST
async def test_another_role_assignment_is_refused_while_one_runs_and_takes_over_by_hand_over(depot: Depot) -> None:
    whole = depot.start("conductor")
    await depot.ready()
    told = await depot.refused(role="router,arrivals")
    assert told.startswith("error: arrivals, router is played by a live worker of another role assignment")
    assert f"{depot.prefix}@all at {whole.url}" in told
    assignment = ("on-ramp,router", "arrivals,service:weigh", "service:crane,service:shelf")
    to = [argument for role in assignment for argument in ("--to", role)]
    refused = command(depot, "hand-over", *to)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "1 workers are alive" in refused.stderr
    assert "stop the line first" in refused.stderr

    await depot.push(numbered(range(16), takes=0.2))
    at_weigh = [TopicPartition(depot.topics.at("service.weigh"), number) for number in range(depot.partitions)]
    await depot.until(lambda: depot.holds_messages(*at_weigh))
    assert await depot.stop(whole) == 0
    under_way = 16 - sum((await depot.counts()).values())
    assert under_way > 0
    done = command(depot, "hand-over", *to)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{depot.prefix}@on-ramp+router: " in done.stdout
    for role in assignment:
        depot.start("signpost", role)
    await depot.push(numbered(range(16, 24)))
    await depot.settled(24)

    journeys = (await depot.journeys()).values()
    check_ways(journeys, range(24))
    assert {journey.strategy for journey in journeys if journey.record["n"] < 16} == {"conductor"}
    assert await depot.duplicates() == 0, "no message was handled under both role assignments"


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # it is refused before a broker is asked
async def test_roles_that_leave_a_part_out_are_not_handed_over_to(depot: Depot) -> None:
    refused = command(depot, "hand-over", "--to", "on-ramp,router", "--to", "service:weigh,service:crane")

    assert refused.returncode == 2
    assert "nobody plays arrivals, service:shelf" in refused.stderr
