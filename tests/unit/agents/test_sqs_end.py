"""An end that is a queue: how records are packed, and the answer for each whatever SQS answers."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import orjson
import pytest

from metroline.agents.gateways.outside_end import Delayed, Outgoing, RefusedByEnd
from metroline.agents.gateways.sqs.client import CallCounts, SqsAway, SqsClient, SqsInvalid, SqsRefused
from metroline.agents.gateways.sqs.end import SqsEnd, SqsWriter
from metroline.agents.gateways.sqs.packing import CALL_BYTES, Line, Packed, calls, packed
from metroline.routing.meta import Meta

CHUNK = 64 * 1024


def records(*numbers: int, group: str | None = None) -> list[Outgoing]:
    """Return records, whose ids are their numbers."""
    meta = Meta(None if group is None else group.encode(), {}, None, "source", 0, 0)
    return [Outgoing({"n": number}, f"source-0-{number}", meta) for number in numbers]


class FakeClient:
    """A queue that keeps the messages of each call. `answers` are those to its calls, in order; None takes all.

    Messages with the text `bad`, or more bytes than `most`, are refused.
    """

    def __init__(self, *answers: Exception | list[dict[str, Any]] | None, bad: str = "bad", most: int = CHUNK) -> None:
        self.counts = CallCounts()
        self.sent: list[list[dict[str, Any]]] = []
        self.answers = list(answers)
        self.silent: set[str] = set()
        """Bodies of messages that the answers do not name."""
        self.bad, self.most = bad, most
        self.limit: int | Exception | None = None
        """The bytes of a message that the queue says that it takes."""

    async def message_bytes(self) -> int | None:
        if isinstance(self.limit, Exception):
            raise self.limit
        return self.limit

    async def call(self, name: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        assert name == "send_message_batch"
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        failures = [*(answer or ()), *(_refused(one["Id"]) for one in Entries if self._refuses(one["MessageBody"]))]
        failed = {one["Id"] for one in failures}
        self.sent.append([one for one in Entries if one["Id"] not in failed and one["MessageBody"] not in self.silent])
        return {"Successful": [{"Id": one["Id"]} for one in self.sent[-1]], "Failed": failures}

    def _refuses(self, body: str) -> bool:
        return self.bad in body or len(body) > self.most

    @property
    def bodies(self) -> list[str]:
        return [one["MessageBody"] for call in self.sent for one in call]


def _refused(place: str) -> dict[str, Any]:
    return {"Id": place, "SenderFault": True, "Code": "InvalidMessageContents", "Message": "a character"}


def writer(client: FakeClient, **options: Any) -> SqsWriter:
    end = SqsEnd.model_validate({"kind": "sqs", "queue": "out", **options})
    return SqsWriter("out", end, cast(SqsClient, client))


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metroline.agents.gateways.sqs.end.WAITS_SECONDS", (0.0, 0.0))


async def test_a_queue_in_order_is_free_again_after_a_call_that_was_cancelled() -> None:
    asked = asyncio.Event()

    class HangingClient(FakeClient):
        async def call(self, name: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
            if not asked.is_set():
                asked.set()
                await asyncio.Event().wait()
            return await super().call(name, Entries)

    client = HangingClient()
    queue = writer(client, queue="out.fifo")
    pack = records(1, group="a")
    writing = asyncio.create_task(queue.write(pack))
    await asked.wait()
    writing.cancel()
    await asyncio.wait([writing])

    assert writing.cancelled()
    assert await asyncio.wait_for(queue.write(pack), 60) == [None]
    assert len(client.bodies) == 1


def test_records_never_share_a_message_that_is_larger_than_a_chunk() -> None:
    lines = [Line(b"x" * 1_300, f"source-0-{number}", None) for number in range(120)]

    messages = packed(lines, several=True)

    assert all(one.size <= CHUNK for one in messages)
    assert [len(one.places) for one in messages] == [49, 49, 22]
    assert [place for one in messages for place in one.places] == list(range(120))


def test_a_record_that_is_larger_than_a_chunk_is_a_message_of_its_own() -> None:
    sizes = (100, CHUNK + 1, 100)
    messages = packed([Line(b"x" * size, str(size), None) for size in sizes], several=True)

    assert [one.places for one in messages] == [(0,), (1,), (2,)]


def test_a_call_has_ten_messages_and_no_more_bytes_than_it_may_have() -> None:
    small = [Packed(b"x", str(number), None, (number,)) for number in range(25)]
    large = [Packed(b"x" * (CHUNK - 100), str(number), None, (number,)) for number in range(6)]

    assert [len(call) for call in calls(small)] == [10, 10, 5]
    assert [len(call) for call in calls(large)] == [4, 2]
    assert all(sum(one.size for one in call) <= CALL_BYTES for call in calls(large))


async def test_records_are_sent_packed_with_their_ids() -> None:
    client = FakeClient()

    assert await writer(client).write(records(1, 2, 3)) == [None] * 3

    assert client.bodies == ['{"n":1}\n{"n":2}\n{"n":3}']
    ids = client.sent[0][0]["MessageAttributes"]["metroline-id"]["StringValue"]
    assert ids == "source-0-1,source-0-2,source-0-3"
    assert (client.counts.calls["send_message_batch"], client.counts.chunks) == (1, 1)


@pytest.mark.parametrize(
    "text", ["\x00", "\x0b", "\x1f", "\ufffe", "\uffff", "a\uffff\ufffe", "\ue000 \x7f \U0001ffff"]
)
async def test_no_message_has_a_character_that_sqs_refuses_and_its_record_is_the_same(text: str) -> None:
    client = FakeClient()
    [one] = records(1)
    one.record[text] = text

    assert await writer(client).write([one]) == [None]

    [body] = client.bodies
    assert all(c >= " " and c not in "\ufffe\uffff" for c in body)
    assert orjson.loads(body) == one.record


async def test_without_packing_each_record_is_a_message() -> None:
    client = FakeClient()
    await writer(client, packed=False).write(records(*range(12)))

    assert [len(call) for call in client.sent] == [10, 2]


async def test_entries_that_fail_for_the_moment_are_sent_again_and_those_at_fault_are_refused() -> None:
    client = FakeClient(
        [
            {"Id": "1", "SenderFault": False, "Code": "InternalError", "Message": "later"},
            {"Id": "2", "SenderFault": True, "Code": "InvalidMessageContents", "Message": "a character"},
        ]
    )

    first, second, third = await writer(client, packed=False).write(records(1, 2, 3))

    assert (first, second) == (None, None)
    assert isinstance(third, RefusedByEnd)
    assert str(third) == "InvalidMessageContents: a character"
    assert client.bodies == ['{"n":1}', '{"n":2}']


@pytest.mark.parametrize("error", [SqsAway("ThrottlingException"), SqsRefused("the queue out does not exist")])
async def test_records_wait_on_the_bus_while_the_queue_takes_none(error: Exception) -> None:
    client = FakeClient(error, error, error)

    [answer] = await writer(client).write(records(1))

    assert answer == Delayed(str(error), 10.0)


async def test_a_call_that_is_not_taken_is_divided_so_that_only_the_record_at_fault_is_refused() -> None:
    client = FakeClient(SqsInvalid("too long"), None, SqsInvalid("too long"))

    answers = await writer(client, packed=False).write(records(1, 2))

    assert [type(one) for one in answers] == [type(None), RefusedByEnd]


@pytest.mark.parametrize("queue", ["out", "out.fifo"])
async def test_only_the_record_at_fault_of_a_packed_message_is_refused_and_the_others_keep_their_order(
    queue: str,
) -> None:
    client = FakeClient()
    pack = records(*range(9), group="a")
    pack[4].record["n"] = "bad"

    answers = await writer(client, queue=queue).write(pack)

    assert [place for place, one in enumerate(answers) if isinstance(one, RefusedByEnd)] == [4]
    assert answers.count(None) == 8
    assert "\n".join(client.bodies) == "\n".join(f'{{"n":{number}}}' for number in range(9) if number != 4)
    ids = ",".join(one["MessageAttributes"]["metroline-id"]["StringValue"] for call in client.sent for one in call)
    assert ids == ",".join(f"source-0-{number}" for number in range(9) if number != 4)


async def test_a_packed_message_that_is_too_long_for_the_queue_is_divided() -> None:
    client = FakeClient(most=20)

    assert await writer(client).write(records(*range(8))) == [None] * 8

    assert "\n".join(client.bodies) == "\n".join(f'{{"n":{number}}}' for number in range(8))


async def test_the_second_half_of_a_message_of_a_group_waits_for_the_first() -> None:
    away = SqsAway("ThrottlingException")
    client = FakeClient([_refused("0")], away, away, away)

    answers = await writer(client, queue="out.fifo").write(records(1, 2, group="a"))

    assert answers == [Delayed("ThrottlingException", 10.0)] * 2
    assert client.bodies == []


@pytest.mark.parametrize("code", ["KmsAccessDenied", "KMS.DisabledException", "AccessDeniedException"])
async def test_records_wait_if_a_right_or_a_key_is_at_fault(code: str) -> None:
    failed = [{"Id": "0", "SenderFault": True, "Code": code, "Message": "no"}]
    client = FakeClient(failed, failed, failed)

    [answer] = await writer(client).write(records(1))

    assert answer == Delayed(f"{code}: no", 10.0)


async def test_a_message_for_which_sqs_does_not_answer_is_not_delivered() -> None:
    client = FakeClient()
    client.silent = {'{"n":2}'}

    answers = await writer(client, packed=False).write(records(1, 2))

    assert answers == [None, Delayed("SQS did not answer for the message", 10.0)]


async def test_a_fifo_queue_gets_the_messages_of_a_group_in_order_and_the_later_ones_wait_for_the_first() -> None:
    busy = [{"Id": "0", "SenderFault": False, "Code": "Busy", "Message": ""}]
    client = FakeClient(busy, busy, busy)
    pack = [*records(1, 2, group="a"), *records(3, group="b")]

    answers = await writer(client, queue="out.fifo", packed=False).write(pack)

    assert [type(one) for one in answers] == [Delayed, Delayed, type(None)]
    assert client.bodies == ['{"n":3}']
    assert client.sent[0][0]["MessageGroupId"] == "b"


async def test_records_of_two_lines_with_the_same_ids_are_no_copies_of_each_other() -> None:
    client = FakeClient()
    for prefix in ("orders", "returns", "orders"):
        pack = [one._replace(prefix=prefix) for one in records(1, 2, group="a")]
        await writer(client, queue="out.fifo").write(pack)

    first, other, again = (one for call in client.sent for one in call)
    assert first == again
    assert first["MessageDeduplicationId"] != other["MessageDeduplicationId"]
    assert other["MessageAttributes"]["metroline-prefix"]["StringValue"] == "returns"


async def test_a_record_without_a_message_group_is_refused_by_a_fifo_queue() -> None:
    client = FakeClient()
    pack = records(1, 2)
    pack[0].record["customer"] = 7

    answers = await writer(client, queue="out.fifo", group="customer").write(pack)

    assert [type(one) for one in answers] == [type(None), RefusedByEnd]
    assert client.sent[0][0]["MessageGroupId"] == "7"


@pytest.mark.parametrize(
    ("options", "order"),
    [({}, False), ({"ordered": True}, True), ({"ordered": True, "group": "customer"}, "customer")],
)
def test_a_fifo_end_is_in_the_order_of_its_groups_if_it_is_to_be(options: dict[str, Any], order: bool | str) -> None:
    assert SqsEnd(kind="sqs", queue="out.fifo", **options).order == order


def test_a_standard_queue_has_no_order() -> None:
    with pytest.raises(ValueError, match=r"ordered is for FIFO queues, whose names end with \.fifo: remove it"):
        SqsEnd(kind="sqs", queue="out", ordered=True)


@pytest.mark.parametrize(("group", "has"), [("", "the record has none"), ("a b", "it is 'a b'"), ("ü", "it is 'ü'")])
async def test_a_message_group_that_no_queue_takes_is_the_reason_of_a_dead_letter(group: str, has: str) -> None:
    client = FakeClient()

    bad, good = await writer(client, queue="out.fifo").write(
        [*records(1, group=group), *records(2, group="".join(map(chr, range(0x21, 0x7F))))]
    )

    assert isinstance(bad, RefusedByEnd)
    assert str(bad) == (
        "the queue needs a message group of up to 128 ASCII characters without spaces, and "
        f"{has}: the key of the source message"
    )
    assert (good, client.bodies) == (None, ['{"n":2}'])


async def test_messages_are_packed_up_to_the_size_that_the_queue_takes() -> None:
    client = FakeClient(most=100)
    client.limit = 100

    assert await writer(client).write(records(*range(10))) == [None] * 10

    assert sum(map(len, client.sent)) == len(client.bodies) > 3, "none was refused"
    assert all(len(body) + 44 <= 100 for body in client.bodies)


@pytest.mark.parametrize("limit", [None, 1 << 20, SqsAway("it is away")])
async def test_a_queue_that_does_not_say_its_size_gets_chunks(limit: int | Exception | None) -> None:
    client = FakeClient()
    client.limit = limit

    assert await writer(client).write(records(*range(10))) == [None] * 10

    assert len(client.bodies) == 1
