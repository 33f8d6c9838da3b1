"""An end of a line that is a queue of SQS, on a real server with its protocol."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from metroline.routing.outcome import Ending
from tests.support.cli import metroline
from tests.support.depot import Depot, numbered
from tests.support.elasticmq import CREDENTIALS, ElasticMq

pytestmark = pytest.mark.long

RULES = """
[[rules]]
after = "source"
to = "weigh"

[[rules]]
after = "weigh"
to = "shipped"
"""


@pytest.fixture
def out(sqs: ElasticMq, depot: Depot) -> str:
    """Return the queue to which the line sends, which does not exist yet."""
    name = f"{depot.prefix}-out"
    depot.write((depot.folder / "services.py").read_text(), RULES)
    options = f'[ends.shipped]\nkind = "sqs"\nqueue = "{name}"\nendpoint = "{sqs.url}"\n'
    (depot.folder / "line.toml").write_text(options)
    depot.variables |= CREDENTIALS
    return name


def numbers(sqs: ElasticMq, queue: str) -> list[int]:
    """Return the numbers of the records in a queue, sorted."""
    return sorted(orjson.loads(line)["n"] for one in sqs.taken(queue) for line in one["Body"].splitlines())


async def test_records_reach_a_queue_that_is_created_late_and_count_as_delivered_there(
    sqs: ElasticMq, out: str, depot: Depot
) -> None:
    await depot.push(numbered(range(200)))
    worker = depot.start()
    await depot.ready(worker)
    sqs.create(out)

    await depot.settled(200)

    assert await depot.counts() == {Ending.DELIVERED: 200}
    assert await depot.delivered() == []
    assert await asyncio.to_thread(numbers, sqs, out) == list(range(200))
    assert {journey.reason for journey in (await depot.journeys()).values()} == {"shipped"}
    await _has_its_bill(depot)


async def _has_its_bill(depot: Depot) -> None:
    """Ask for the bill of a line that runs: its worker says which calls it has made to the end."""
    variables = depot.environment()
    done = await asyncio.to_thread(lambda: metroline("cost", "--json", "-", cwd=depot.folder, **variables))
    assert done.returncode == 0, done.stderr
    measured = orjson.loads(done.stdout)["measured"]
    assert measured["missing"] == []
    [queue] = measured["queues"]
    assert (queue["end"], queue["workers"]) == ("shipped", 1)
    assert queue["calls"]["send_message_batch"] > 0
    assert queue["billed_calls"] >= sum(queue["calls"].values())


async def test_a_worker_that_is_killed_loses_nothing_on_the_way_to_a_queue(
    sqs: ElasticMq, out: str, depot: Depot
) -> None:
    sqs.create(out)
    await depot.push(numbered(range(2_000)))
    worker = depot.start()
    await depot.until(lambda: sqs.waiting(out)[0] > 3)
    await depot.kill(worker)
    depot.start()

    await depot.settled(2_000)

    assert await depot.counts() == {Ending.DELIVERED: 2_000}
    assert sorted(set(await asyncio.to_thread(numbers, sqs, out))) == list(range(2_000))


async def test_a_record_with_characters_that_no_message_may_have_arrives_as_it_is(
    sqs: ElasticMq, out: str, depot: Depot
) -> None:
    sqs.create(out)
    odd = orjson.dumps({"n": 7, "text": "\x00 \ufffe \uffff"})
    await depot.push([*numbered(range(7)), odd, *numbered(range(8, 40))])
    depot.start()

    await depot.settled(40)

    assert await depot.counts() == {Ending.DELIVERED: 40}
    found = [orjson.loads(line) for one in sqs.taken(out) for line in one["Body"].splitlines()]
    assert sorted(record["n"] for record in found) == list(range(40))
    assert [record["text"] for record in found if record["n"] == 7] == ["\x00 \ufffe \uffff"]


async def test_a_record_that_a_queue_does_not_take_is_a_dead_letter_and_the_others_of_its_pack_go_on(
    sqs: ElasticMq, out: str, depot: Depot
) -> None:
    queue = f"{out}.fifo"
    sqs.create(queue)
    text = (depot.folder / "line.toml").read_text().replace(f'"{out}"', f'"{queue}"')
    (depot.folder / "line.toml").write_text(f'{text}group = "customer"\n')
    await depot.push([*numbered(range(20), customer="a"), *numbered([20], customer="a b")])
    depot.start()

    await depot.settled(21)

    assert await depot.counts() == {Ending.DELIVERED: 20, Ending.DEAD: 1}
    assert await asyncio.to_thread(numbers, sqs, queue) == list(range(20))
    [(_, reason, record)] = await depot.letters()
    assert orjson.loads(record)["n"] == 20
    assert "the queue needs a message group of up to 128 ASCII characters" in reason
    assert "it is 'a b': the field 'customer'" in reason


async def test_a_group_keeps_its_order_through_a_time_without_the_queue(sqs: ElasticMq, out: str, depot: Depot) -> None:
    queue = f"{out}.fifo"
    text = (depot.folder / "line.toml").read_text().replace(f'"{out}"', f'"{queue}"')
    (depot.folder / "line.toml").write_text(f'{text}ordered = true\ngroup = "customer"\n')

    def of_customers(first: int) -> list[bytes]:
        """Return 30 records, those of each customer in a source partition."""
        return [orjson.dumps({"n": first + n, "customer": f"c{n % depot.partitions}"}) for n in range(30)]

    worker = depot.start()
    await depot.ready(worker)
    await depot.push(of_customers(0))
    await depot.until(lambda: "records of the end shipped wait on the bus" in worker.child.log.read_text())
    sqs.create(queue)
    await depot.push(of_customers(30))

    await depot.settled(60)

    by_group: dict[str, list[int]] = {}
    for one in sqs.taken(queue):
        record = orjson.loads(one["Body"])
        by_group.setdefault(one["Attributes"]["MessageGroupId"], []).append(record["n"])
    assert len(by_group) == depot.partitions
    assert sum(map(len, by_group.values())) == 60
    assert all(numbers == sorted(numbers) for numbers in by_group.values()), by_group
