"""Records that entered, less those that have an outcome, are none once a line rests, whatever crashed meanwhile."""

from __future__ import annotations

from typing import cast

import orjson
import pytest

from metroline.agents.accounts import Accounts
from metroline.agents.delivery.entry_counts import EntryCount
from metroline.agents.services.schedule import Clock
from metroline.agents.tables.line_table import LineTable
from metroline.agents.tables.outcomes import read_outcomes_table
from tests.support.depot import Depot, numbered

pytestmark = pytest.mark.parametrize("broker", ["kafka"], indirect=True)  # the embedded one keeps no notes


class ReadTable:
    """The table of outcomes as it is on the bus, which a test may change."""

    def __init__(self, data: dict[bytes, bytes]) -> None:
        self.data = data

    def accounts(self, depot: Depot, *clocks: Clock) -> Accounts:
        owned = frozenset(range(depot.partitions))
        stops = {"weigh", "crane", "shelf"}
        return Accounts(depot.cluster, depot.topics, stops, cast(LineTable, self), lambda: owned, 0, lambda: clocks)


async def entered(depot: Depot) -> dict[int, EntryCount | None]:
    """Return what the on-ramp noted beside its committed offsets, by partition."""
    async with depot.cluster.admin() as admin:
        committed = await admin.list_consumer_group_offsets(depot.topics.on_ramp_group(0))
    return {
        tp.partition: EntryCount.of_note(at.metadata) for tp, at in committed.items() if tp.topic == depot.topics.source
    }


@pytest.mark.long
@pytest.mark.parametrize("chaining", ["off", "on"])
async def test_a_worker_that_is_killed_counts_no_record_twice_and_none_is_unaccounted_for(
    depot: Depot, chaining: str
) -> None:
    depot.variables = {"CHAINING": chaining, "BROKER_SESSION_TIMEOUT": "6"}
    messages = [b"\n".join(numbered([number, number + 1, number + 3])) for number in range(0, 900, 3)]
    await depot.push(messages)
    first = depot.start()
    await depot.until(lambda: depot.more_than(100))
    await depot.kill(first)
    await depot.push([*numbered([1, 3]), b"no JSON", b'{"n": 7}\nno JSON'])
    depot.start()
    await depot.settled(900 + 5)
    read = ReadTable(await read_outcomes_table(depot.cluster, depot.topics))

    async def are_noted() -> bool:
        notes = await entered(depot)
        return sum(note.records for note in notes.values() if note) == 905

    await depot.until(are_noted, 30)
    accounts = read.accounts(depot)
    await accounts.compare()
    assert accounts.unaccounted == 0

    read.data[b"0/schedule.nightly/0"] = orjson.dumps({"counts": [["log", "delivered", "", 4]]})
    scheduled = read.accounts(depot, Clock("nightly", 7, 7, 8))

    async def ticks_are_missed() -> bool:
        await scheduled.compare()
        return scheduled.unaccounted == 3

    await depot.until(ticks_are_missed, 30)
    scheduled = read.accounts(depot, Clock("nightly", 4, 7, 8))
    await scheduled.compare()
    assert scheduled.unaccounted == 0, "each tick that entered has an outcome"

    key = max(key for key in read.data if b"/source/" in key)
    block = orjson.loads(read.data[key])
    block["counts"][0][-1] -= 2  # two outcomes go missing
    read.data[key] = orjson.dumps(block)

    async def are_missed() -> bool:
        await accounts.compare()
        return accounts.unaccounted == 2

    await depot.until(are_missed, 30)  # a partition is judged once it rests
