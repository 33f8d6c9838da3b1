"""Admission: the on-ramp takes more once the line has done what it has, and a lone record never waits."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import pytest

from metroline.agents.delivery import admission as module
from metroline.agents.delivery.admission import MAX_REST_SECONDS, REST, Admission
from metroline.agents.delivery.work_in_hand import EMPTY_SECONDS, RECENT_SECONDS, STRETCH_SECONDS, WorkInHand


@dataclass(slots=True)
class World:
    """A clock, the CPU time of the process and the wait of messages, as the test says."""

    now: float = 1_000.0
    cpu: float = 5.0
    behind: float = 0.0

    def admission(self, work: WorkInHand) -> Admission:
        return Admission(work, lambda: self.behind, clock=lambda: self.now, cpu=lambda: self.cpu)

    def work(self) -> WorkInHand:
        work = WorkInHand(lambda: self.now)
        work.watch("plain")
        return work


async def is_admitted(admission: Admission, seconds: float = 0.005) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await admission.before_look()
    except TimeoutError:
        return False
    return True


async def test_a_line_at_rest_is_looked_at_at_once() -> None:
    world = World()
    admission = world.admission(world.work())
    assert await is_admitted(admission)
    admission.looked(emptied=True)
    world.now, world.cpu = world.now + 0.001, world.cpu + 0.000_1
    assert await is_admitted(admission)


async def test_after_a_look_that_emptied_the_source_it_rests_in_proportion_to_what_the_look_cost() -> None:
    world = World()
    admission = world.admission(world.work())
    admission.looked(emptied=True)
    world.now, world.cpu = world.now + 0.006, world.cpu + 0.006
    assert not await is_admitted(admission)
    world.now += 0.006 * REST + 0.001
    assert await is_admitted(admission)


async def test_a_rest_counts_what_the_look_before_cost_while_the_on_ramp_rested() -> None:
    world = World()
    admission = world.admission(world.work())
    admission.looked(emptied=True)
    world.now += 1.0
    assert await is_admitted(admission)
    world.cpu += 0.004  # of what the look caused: confirmations and outcomes
    admission.looked(emptied=True)
    world.now, world.cpu = world.now + 0.002, world.cpu + 0.002
    assert not await is_admitted(admission)
    admission.looked(emptied=True)
    world.now += 1.0
    assert await is_admitted(admission)


async def test_what_the_process_did_while_the_line_rested_is_no_reason_for_a_rest() -> None:
    world = World()
    admission = world.admission(world.work())
    admission.looked(emptied=True)
    for _ in range(100):  # looks that bring nothing
        world.now, world.cpu = world.now + 0.2, world.cpu + 0.01
        assert await is_admitted(admission)
    admission.looked(emptied=True)
    world.now += 0.001
    assert await is_admitted(admission)


async def test_a_rest_is_bounded() -> None:
    world = World()
    admission = world.admission(world.work())
    admission.looked(emptied=True)
    world.now, world.cpu = world.now + MAX_REST_SECONDS - 0.02, world.cpu + 10
    assert not await is_admitted(admission)
    world.now += 0.021
    assert await is_admitted(admission)


async def test_a_source_that_holds_more_is_looked_at_without_a_rest() -> None:
    world = World()
    admission = world.admission(world.work())
    admission.looked(emptied=False)
    world.cpu += 1.0
    assert await is_admitted(admission)


async def test_the_agents_of_the_worker_go_first_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    work = world.work()
    admission = world.admission(work)
    work.add("plain")
    work.add("plain")
    assert not await is_admitted(admission)
    work.done("plain")
    assert not await is_admitted(admission)
    work.done("a slow service")
    assert not await is_admitted(admission)
    monkeypatch.setattr(module, "MAX_YIELD_SECONDS", 0.02)
    assert await is_admitted(admission, 5.0)
    work.reset()
    monkeypatch.undo()
    assert await is_admitted(admission)


async def test_nothing_is_taken_while_a_worker_is_behind() -> None:
    world = World(behind=3.0)
    admission = world.admission(world.work())
    assert not await is_admitted(admission, 0.2)
    waiting = asyncio.create_task(admission.before_look())
    await asyncio.sleep(0.01)
    world.behind, world.now = 0.1, world.now + 2.0
    async with asyncio.timeout(30):
        await waiting
    assert admission.held_back == pytest.approx(2.0)


def test_how_far_a_worker_is_behind_is_told_against_the_shortest_wait_so_that_clocks_may_differ() -> None:
    world = World()
    work = world.work()
    work.add("plain")
    work.waited("plain", world.now - 100.0)  # the clock of the sender is 100 s late
    assert work.behind == 0.0
    work.waited("plain", world.now - 100.7)
    work.waited("plain", world.now - 100.2)
    assert work.behind == pytest.approx(0.7)
    world.now += RECENT_SECONDS + 0.1
    assert work.behind == 0.0
    work.waited("plain", world.now - 100.3)
    assert work.behind == pytest.approx(0.3)


def test_a_worker_that_has_handled_all_it_had_is_not_behind_any_longer() -> None:
    world = World()
    work = world.work()
    work.add("plain")
    work.waited("plain", world.now)
    work.done("plain")
    work.add("plain")
    work.waited("plain", world.now - 3.0)
    assert work.behind == pytest.approx(3.0)
    work.done("plain")
    assert work.behind == pytest.approx(3.0)  # more may be on its way from the brokers
    world.now += EMPTY_SECONDS + 0.01
    assert work.behind == 0.0


def test_a_clock_that_is_put_right_does_not_leave_a_worker_behind_for_ever() -> None:
    world = World()
    work = world.work()
    work.add("plain")
    work.waited("plain", world.now - 0.01)
    for _ in range(3):
        world.now += STRETCH_SECONDS + 1
        work.waited("plain", world.now - 5.01)
    assert work.behind == pytest.approx(0.0)
    work.waited("plain", world.now - 5.8)
    assert work.behind == pytest.approx(0.79)


async def test_what_waits_for_a_service_does_not_hold_back_the_on_ramp() -> None:
    world = World()
    work = world.work()
    work.waited("plain", world.now)
    work.add("a slow service")
    work.waited("a slow service", world.now - 60.0)
    assert work.behind == 0.0
    assert await is_admitted(world.admission(work))


def test_work_that_is_done_twice_or_after_a_reset_does_not_count_below_nothing() -> None:
    work = WorkInHand(time.time)
    work.watch("plain")
    work.add("plain")
    work.reset()
    work.done("plain")
    work.add("plain")
    assert work.count == 1
    work.done("plain")
    assert work.count == 0
