"""Tables are checked in a process that stays for the next check, and ends when none comes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from io import BytesIO

import msgspec
import pytest

from metroline.app.operations import table_checker
from metroline.app.operations.rules_process import NoAnswer, RulesBusy
from metroline.app.operations.table_checker import TableChecker
from metroline.app.operations.table_checks import LENGTH, MAX_PROBLEMS, Found, Request, check_table, serve
from tests.support.waiting import wait_until

GOOD = '[[rules]]\nafter = "source"\nto = "price"\n'
BAD = GOOD.replace("price", "nowhere")
SERVED, ENDS = ("price",), ("end",)


@pytest.fixture
async def checker() -> AsyncIterator[TableChecker]:
    made = TableChecker()
    yield made
    await made.close()


async def test_checks_are_answered_by_one_process_after_another(checker: TableChecker) -> None:
    assert (await checker.check(GOOD, SERVED, ENDS)).problems == []
    pid = checker.pid
    found = await asyncio.gather(*[checker.check(BAD if at % 2 else GOOD, SERVED, ENDS) for at in range(4)])
    assert [one.count for one in found] == [0, 1, 0, 1]
    assert found[1].problems[0].startswith("table:3: rule 1: no service serves the stop 'nowhere'")
    assert checker.pid == pid is not None


async def test_a_process_that_was_killed_is_replaced(checker: TableChecker) -> None:
    await checker.check(GOOD, SERVED, ENDS)
    assert checker.pid is not None
    os.kill(checker.pid, signal.SIGKILL)
    await asyncio.to_thread(wait_until, lambda: checker.pid is None, 60)
    assert (await checker.check(BAD, SERVED, ENDS)).count == 1


async def test_a_check_that_takes_too_long_ends_its_process() -> None:
    checker = TableChecker(seconds=0.001)
    with pytest.raises(NoAnswer, match=r"longer than 0\.001 s"):
        await checker.check(GOOD, SERVED, ENDS)
    assert checker.pid is None


async def test_the_process_ends_when_it_has_nothing_to_do() -> None:
    checker = TableChecker(idle_seconds=0.01)
    await checker.check(GOOD, SERVED, ENDS)
    await asyncio.to_thread(wait_until, lambda: checker.pid is None, 60)
    assert (await checker.check(BAD, SERVED, ENDS)).count == 1
    await checker.close()


async def test_a_check_that_is_given_up_leaves_no_answer_for_the_next_one(checker: TableChecker) -> None:
    await checker.check(GOOD, SERVED, ENDS)
    asked = asyncio.ensure_future(checker.check(BAD, SERVED, ENDS))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert (await checker.check(GOOD, SERVED, ENDS)).count == 0


async def test_only_so_many_checks_wait(checker: TableChecker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_checker, "MAX_WAITING", 1)
    first = asyncio.ensure_future(checker.check(GOOD, SERVED, ENDS))
    await asyncio.sleep(0)
    with pytest.raises(RulesBusy, match="too many tables"):
        await checker.check(GOOD, SERVED, ENDS)
    assert (await first).count == 0


def test_a_long_list_of_problems_is_cut_and_counted() -> None:
    found = check_table(Request(BAD * (MAX_PROBLEMS + 50), [*SERVED], [*ENDS]))
    assert len(found.problems) == MAX_PROBLEMS
    assert found.count >= MAX_PROBLEMS + 50  # further ones for rules that cannot be reached


async def test_a_rule_after_the_end_in_another_system_is_a_problem(checker: TableChecker) -> None:
    text = f'{GOOD}[[rules]]\nafter = "price"\nto = "end"\n'
    assert (await checker.check(text, SERVED, ENDS)).count == 0
    [problem] = (await checker.check(text, SERVED, ENDS, ["price"])).problems
    assert problem.startswith("table:5: rule 2: no rule may come after the end 'price'")


def test_requests_are_answered_until_the_input_ends() -> None:
    requests = [msgspec.json.encode(Request(text, [*SERVED], [*ENDS])) for text in (GOOD, BAD)]
    source, target = BytesIO(b"".join(len(one).to_bytes(LENGTH, "big") + one for one in requests)), BytesIO()
    serve(source, target)
    told = target.getvalue()
    counts = []
    while told:
        size = int.from_bytes(told[:LENGTH], "big")
        counts.append(msgspec.json.decode(told[LENGTH : LENGTH + size], type=Found).count)
        told = told[LENGTH + size :]
    assert counts == [0, 1]
