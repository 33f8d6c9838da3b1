"""The topic of comparisons: the last message of a run counts, and what is none of a comparison is left out."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from msgspec.structs import replace

from metroline.agents.kafka.cluster import Cluster
from metroline.app.operations.comparison_runs import (
    CANCEL,
    MAX_KNOWN,
    MAX_RUN_BYTES,
    MAX_SKEW_SECONDS,
    MAX_TABLE_CHARACTERS,
    STALE_SECONDS,
    Cancel,
    KeptRun,
    KeptRuns,
    RunState,
    ask_to_cancel,
    fitted,
    keep,
    kept_table,
)
from metroline.app.operations.permission import NotPermitted, Permission
from tests.support.comparisons import comparison, outcomes, run
from tests.support.kept_comparisons import FIRST, RUNNING, SECOND, done

NOBODY = Permission.refused(NotPermitted("nobody is logged in"))


def added(runs: KeptRuns, kept: KeptRun) -> str | None:
    return runs.add(kept.id.encode(), msgspec.json.encode(kept))


def test_the_last_message_of_a_run_counts() -> None:
    runs = KeptRuns()
    assert added(runs, RUNNING) is None
    assert not runs.by_id[FIRST].has_results
    assert added(runs, done()) is None
    found = runs.by_id[FIRST]
    assert (found.state, found.has_results, found.records.places) == (RunState.DONE, True, {"0": (7, 9)})
    assert msgspec.json.decode(found.comparison)["records"] == 100_000
    assert runs.add(FIRST.encode(), None) is None
    assert runs.by_id == {}


@pytest.mark.parametrize("end", [state for state in RunState if state is not RunState.RUNNING])
def test_the_end_of_a_run_is_final(end: RunState) -> None:
    runs = KeptRuns()
    added(runs, RUNNING)
    added(runs, replace(RUNNING, state=end, note="the end"))
    assert added(runs, replace(RUNNING, updated=9_000.0)) is None
    assert (runs.by_id[FIRST].state, runs.by_id[FIRST].note) == (end, "the end")
    assert runs.open() is None


def test_how_a_run_ended_counts_more_than_that_another_worker_did_not_hear_of_it() -> None:
    runs = KeptRuns()
    silent = replace(RUNNING, state=RunState.INTERRUPTED)
    for one in (RUNNING, silent, done(), silent, replace(RUNNING, state=RunState.FAILED)):
        added(runs, one)
    assert (runs.by_id[FIRST].state, runs.by_id[FIRST].has_results) == (RunState.DONE, True)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        (None, b"{}", "the key is no id of a comparison"),
        (b"orders", b"{}", "the key is no id of a comparison"),
        (b"\xff" * 10, b"{}", "the key is no id of a comparison"),
        (SECOND.encode(), msgspec.json.encode(RUNNING), "the key is not the id in the message"),
        (FIRST.encode(), b"{", "truncated"),
        (FIRST.encode(), b"{}", "missing required field"),
        (FIRST.encode(), msgspec.json.encode(RUNNING).replace(b"1000.0", b"1e300"), "`float` <="),
        (FIRST.encode() + CANCEL, b"{}", "missing required field"),
        (FIRST.encode(), b" " * (2 * MAX_RUN_BYTES + 1), "larger than a comparison may be"),
    ],
)
def test_what_is_no_comparison_is_left_out(key: bytes | None, value: bytes, problem: str) -> None:
    runs = KeptRuns()
    assert problem in (runs.add(key, value) or "")
    assert (runs.by_id, runs.cancels) == ({}, {})


def test_a_flood_of_comparisons_is_bounded() -> None:
    runs = KeptRuns()
    for number in range(3 * MAX_KNOWN):
        assert added(runs, replace(RUNNING, id=f"{number:010x}")) is None
    assert len(runs.by_id) == MAX_KNOWN
    assert f"{3 * MAX_KNOWN - 1:010x}" in runs.by_id


def test_of_two_that_began_at_once_the_first_on_the_topic_runs() -> None:
    runs = KeptRuns(wall_clock=lambda: 1_002.0)
    added(runs, RUNNING)
    added(runs, replace(RUNNING, id=SECOND, at=999.0))
    added(runs, replace(RUNNING, updated=1_001.0))
    open_one = runs.open()
    assert open_one is not None
    assert open_one.id == FIRST


def state_of(runs: KeptRuns, name: str = FIRST) -> RunState | None:
    run = runs.now(name)
    return None if run is None else run.state


@pytest.mark.parametrize("skew", [0.0, 200.0, -200.0])
def test_a_run_without_a_sign_of_life_is_interrupted_whatever_the_clock_of_its_machine_says(skew: float) -> None:
    now = [50.0]
    runs = KeptRuns(lambda: now[0], lambda: RUNNING.updated + skew + now[0] - 50.0)
    added(runs, RUNNING)
    for _ in range(3):
        now[0] += STALE_SECONDS - 1
        assert state_of(runs) is RunState.RUNNING
        added(runs, replace(RUNNING, updated=RUNNING.updated + now[0] - 50.0))
    now[0] += STALE_SECONDS
    assert state_of(runs) is RunState.INTERRUPTED
    assert runs.open() is None
    assert [run.state for run in runs.newest()] == [RunState.INTERRUPTED]
    added(runs, done())
    assert state_of(runs) is RunState.DONE


def test_what_is_read_long_after_it_was_written_is_no_sign_of_life() -> None:
    runs = KeptRuns(wall_clock=lambda: RUNNING.updated + MAX_SKEW_SECONDS)
    added(runs, RUNNING)
    assert state_of(runs) is RunState.INTERRUPTED
    assert state_of(runs, SECOND) is None


def test_a_wish_to_cancel_is_kept_beside_the_run() -> None:
    runs = KeptRuns()
    added(runs, RUNNING)
    assert runs.add(FIRST.encode() + CANCEL, msgspec.json.encode(Cancel("bob", 7.0))) is None
    assert runs.cancels == {FIRST: Cancel("bob", 7.0)}
    assert runs.by_id[FIRST].state is RunState.RUNNING
    runs.add(FIRST.encode() + CANCEL, None)
    assert runs.cancels == {}


def test_the_rarest_of_many_routes_are_left_out() -> None:
    routes = {f"{'a' * 400}>stop-{number}": outcomes(delivered=9_000 - number) for number in range(5_000)}
    found = fitted(comparison(replace(run("signpost"), routes=routes), run("conductor")).as_json())
    assert len(bytes(found)) < MAX_RUN_BYTES
    kept, other = (list(each["routes"]) for each in msgspec.json.decode(found)["runs"])
    assert kept == list(routes)[: len(kept)]
    assert 10 < len(kept) < 1_001
    assert other == list(run("conductor").routes)


def test_a_table_that_is_too_long_is_not_kept() -> None:
    assert kept_table("x" * MAX_TABLE_CHARACTERS)
    assert kept_table("x" * (MAX_TABLE_CHARACTERS + 1)) == ""


async def test_nothing_is_written_without_a_permission() -> None:
    class NoCluster:
        def producer(self, **_: Any) -> Any:
            raise AssertionError("something was about to be written")

    cluster = cast(Cluster, NoCluster())
    with pytest.raises(NotPermitted, match="nobody is logged in"):
        await keep(cluster, "orders.comparisons", RUNNING, NOBODY)
    with pytest.raises(NotPermitted, match="nobody is logged in"):
        await ask_to_cancel(cluster, "orders.comparisons", FIRST, Cancel("eve", 1.0), NOBODY)
