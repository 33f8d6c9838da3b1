"""Units of work: each is complete once all that was made is confirmed, and units that travel together stay open."""

from __future__ import annotations

import asyncio

import pytest

from metroline.agents.delivery.unit_of_work import DRAIN_SECONDS, JointWork, UnitOfWork, WorkTime, confirmed_unit
from metroline.agents.kafka.producer import Confirmation
from tests.support.bench import until


def work_time(now: float = 1_000.0) -> WorkTime:
    return WorkTime(lambda: now, seconds=5.0)


def counted() -> tuple[UnitOfWork, list[str]]:
    """Return a unit, and a list that has an entry once the unit is complete."""
    completed: list[str] = []
    return UnitOfWork(work_time(), lambda: completed.append("complete")), completed


def promise() -> Confirmation:
    return asyncio.get_running_loop().create_future()


async def test_a_unit_is_complete_once_it_is_released_as_often_as_it_was_held() -> None:
    unit, completed = counted()
    unit.hold()
    unit.release()
    assert not completed
    unit.release()
    assert completed == ["complete"]
    assert unit.is_complete


async def test_a_unit_waits_for_what_it_follows_even_if_that_was_confirmed_before() -> None:
    unit, completed = counted()
    first, second = promise(), promise()
    first.set_result(None)
    unit.follow(first)
    unit.follow(second)
    unit.release()
    assert not completed
    second.set_result(None)
    await until(lambda: completed == ["complete"])


async def test_units_that_travel_together_stay_open_until_what_they_share_is_complete() -> None:
    (first, first_completed), (second, second_completed) = counted(), counted()
    joint = JointWork([first, second])
    for unit in (first, second):
        unit.release()
    confirmation = promise()
    joint.follow(confirmation)
    joint.release()
    assert not first_completed + second_completed
    confirmation.set_result(None)
    await until(lambda: first_completed == second_completed == ["complete"])


async def test_of_units_that_travel_together_none_completes_if_one_message_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (first, first_completed), (second, second_completed) = counted(), counted()
    joint = JointWork([first, second])
    for unit in (first, second):
        unit.release()
    for confirmation in (promise(), promise()):
        joint.follow(confirmation)
        confirmation.set_exception(OSError("no"))
    joint.release()
    await until(lambda: len(caplog.messages) == 2)
    assert not first_completed + second_completed


def test_units_that_travel_together_have_the_time_of_the_oldest() -> None:
    time = work_time()
    young, old = UnitOfWork(time, taken_at=1_000.0), UnitOfWork(time, taken_at=990.0)
    assert JointWork([young, old]).is_over(996.0)
    assert not JointWork([young]).is_over(996.0)


def test_the_time_of_a_unit_is_shorter_while_the_worker_drains() -> None:
    time = work_time()
    unit = UnitOfWork(time)
    moment = 1_000.0 + DRAIN_SECONDS + 0.1
    assert not unit.is_over(moment)
    time.is_draining = True
    assert unit.is_over(moment)


async def test_a_long_journey_of_joined_units_completes_its_first_one() -> None:
    first, completed = counted()
    units: list[UnitOfWork] = [first]
    for _ in range(64):
        units.append(JointWork([units[-1]]))
    for unit in units:
        unit.release()
    assert completed == ["complete"]


async def test_a_unit_that_failed_never_confirms() -> None:
    unit, confirmation = confirmed_unit(work_time())
    made = promise()
    unit.follow(made)
    unit.release()
    made.set_exception(OSError("no"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not confirmation.done()


def test_units_that_travel_together_are_discarded_once_all_of_them_are() -> None:
    first, second = UnitOfWork(work_time()), UnitOfWork(work_time())
    joint = JointWork([first, second])
    first.discard()
    assert not joint.is_discarded
    second.discard()
    assert joint.is_discarded
