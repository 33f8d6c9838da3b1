"""The client of SQS: what it sends, the errors that it makes of answers, and the check of a queue."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import JSONFileLoader

from metroline.agents.gateways.outside_end import Delayed, Outgoing, RefusedByEnd
from metroline.agents.gateways.sqs.client import SqsAway, SqsForbidden, SqsInvalid, SqsRefused, opened
from metroline.agents.gateways.sqs.end import SqsEnd
from metroline.agents.gateways.sqs.options import SqsSource
from metroline.agents.gateways.sqs.queue_check import QueueProblem, source_problems
from metroline.agents.gateways.sqs.received import SourceMessage
from metroline.agents.gateways.sqs.receiver import SqsReceiver
from metroline.app.local.ports import HOST
from metroline.routing.meta import Meta
from tests.support.elasticmq import CREDENTIALS
from tests.support.fake_sqs import Call, FakeSqs, failure

READ_ONCE = cache(JSONFileLoader().load_file)
"""The files of botocore, which each client reads anew otherwise: that takes longer than the tests."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(JSONFileLoader, "load_file", lambda _, path: READ_ONCE(path))
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def sqs() -> AsyncIterator[FakeSqs]:
    async with FakeSqs().running() as server:
        yield server


def source(server: FakeSqs, queue: str = "orders", **options: Any) -> SqsSource:
    return SqsSource(kind="sqs", queue=queue, endpoint=server.url, **options)


async def made(server: FakeSqs, name: str, options: SqsSource | None = None, **arguments: Any) -> dict[str, Any]:
    """Make a call and return its answer."""
    async with opened(options or source(server), 4) as client:
        return await client.call(name, **arguments)


def signature(call: Call, secret: str) -> str:
    """Return the signature that a call must have, made of what arrived."""
    key, date, region, named = re.findall(r"(\w+)/(\d+)/([\w-]+)/sqs/.*SignedHeaders=([\w;-]+)", authorization(call))[0]
    request = AWSRequest("POST", call.url, {name: call.header(name) for name in named.split(";")}, call.body)
    request.context["timestamp"] = call.header("x-amz-date")
    assert call.header("x-amz-date").startswith(date)
    auth = SigV4Auth(Credentials(key, secret), "sqs", region)
    text = auth.canonical_request(request)
    return str(auth.signature(auth.string_to_sign(request, text), request))


def authorization(call: Call) -> str:
    return call.header("authorization")


ENTRIES = [
    {"Id": "0", "MessageBody": 'a "ü" \n\U0001f600', "MessageAttributes": {}},
    {
        "Id": "1",
        "MessageBody": "b",
        "MessageGroupId": "g",
        "MessageAttributes": {"x": {"DataType": "String", "StringValue": "y"}},
    },
]


async def test_a_call_is_the_one_that_botocore_makes_of_it(sqs: FakeSqs) -> None:
    url = f"{sqs.url}/000000000000/orders"
    async with get_session().create_client("sqs", endpoint_url=sqs.url) as library:
        await library.send_message_batch(QueueUrl=url, Entries=ENTRIES)
    await made(sqs, "send_message_batch", source(sqs, url), Entries=ENTRIES)

    theirs, ours = sqs.calls
    assert (ours.action, ours.arguments) == (theirs.action, theirs.arguments)
    for name in ("content-type", "host", "x-amz-target", "x-amzn-query-mode"):
        assert ours.header(name) == theirs.header(name)


async def test_a_call_is_signed_with_the_credentials_of_the_environment(
    sqs: FakeSqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "for an hour")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")

    await made(sqs, "delete_message_batch", Entries=[])

    for call in sqs.calls:
        assert "Credential=test/" in authorization(call)
        assert "/eu-west-1/sqs/" in authorization(call)
        assert authorization(call).endswith(f"Signature={signature(call, 'test')}")
        assert call.header("x-amz-security-token") == "for an hour"


async def test_each_queue_may_have_a_profile_with_its_credentials_and_its_region(
    sqs: FakeSqs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    (tmp_path / "credentials").write_text("[partner]\naws_access_key_id = theirs\naws_secret_access_key = hidden\n")
    (tmp_path / "config").write_text("[profile partner]\nregion = us-west-2\n")

    await made(sqs, "get_queue_attributes", source(sqs, profile="partner"))

    assert "Credential=theirs/" in authorization(sqs.calls[-1])
    assert "/us-west-2/sqs/" in authorization(sqs.calls[-1])
    assert authorization(sqs.calls[-1]).endswith(f"Signature={signature(sqs.calls[-1], 'hidden')}")


async def test_a_profile_that_does_not_exist_is_named(sqs: FakeSqs) -> None:
    with pytest.raises(SqsRefused, match=r"the queue orders cannot be used: .*nobody"):
        await made(sqs, "get_queue_attributes", source(sqs, profile="nobody"))


async def test_credentials_or_a_region_that_are_missing_are_named(
    sqs: FakeSqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(SqsRefused, match="the queue orders cannot be used: You must specify a region"):
        await made(sqs, "get_queue_attributes")

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(SqsRefused, match="the queue orders cannot be used: Unable to locate credentials"):
        await made(sqs, "get_queue_attributes", source(sqs, region="eu-west-1"))
    assert sqs.calls == []


QUEUE_ERROR = "com.amazonaws.sqs#QueueDoesNotExist"
NO_QUEUE = partial(failure, QUEUE_ERROR, "none", query_error="AWS.SimpleQueueService.NonExistentQueue;Sender")


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (NO_QUEUE, SqsRefused, "the queue orders does not exist: create it, or correct its name in line.toml"),
        (partial(failure, QUEUE_ERROR, "none"), SqsRefused, "the queue orders does not exist"),
        (partial(failure, QUEUE_ERROR, "", query_error=QUEUE_ERROR), SqsRefused, "the queue orders does not exist"),
        (
            partial(failure, "com.amazon.coral.service#UnrecognizedClientException", "who?", 403),
            SqsRefused,
            "the queue orders may not be used (receive_message): UnrecognizedClientException: who?",
        ),
        (
            partial(failure, "com.amazon.coral.service#AccessDeniedException", "no policy\nallows it"),
            SqsForbidden,
            "the queue orders may not be used (receive_message): AccessDeniedException: no policy allows it",
        ),
        (
            partial(failure, "InvalidSignatureException", "expected:\n\n'POST\n/'", 403),
            SqsRefused,
            "the queue orders may not be used (receive_message): InvalidSignatureException: expected: 'POST /'",
        ),
        (
            partial(failure, "SignatureDoesNotMatch", "check the key", 403, query_error="SignatureDoesNotMatch;Sender"),
            SqsRefused,
            "the queue orders may not be used (receive_message): SignatureDoesNotMatch: check the key",
        ),
        (
            partial(failure, "com.amazonaws.sqs#InvalidMessageContents", "a character"),
            SqsInvalid,
            "the queue orders does not take it: InvalidMessageContents: a character",
        ),
        (
            partial(failure, "com.amazonaws.sqs#RequestThrottled", "slower", query_error="RequestThrottled;Sender"),
            SqsAway,
            "the queue orders did not answer receive_message: RequestThrottled: slower",
        ),
        (
            partial(web.Response, status=503, text="<html>\n  busy\n</html>"),
            SqsAway,
            "the queue orders did not answer receive_message: 503: <html> busy </html>",
        ),
        (
            partial(web.Response, status=429),
            SqsAway,
            "the queue orders did not answer receive_message: 429: ",
        ),
        (
            partial(web.Response, status=200, text="<html>log in</html>"),
            SqsAway,
            "did not answer receive_message: NotSqs: the answer is not one of SQS: is the endpoint right?",
        ),
    ],
)
async def test_an_error_says_what_to_do(
    sqs: FakeSqs, answer: Callable[[], web.Response], kind: type[Exception], text: str
) -> None:
    sqs.answers["ReceiveMessage"] = answer

    with pytest.raises(kind, match=re.escape(text)) as raised:
        await made(sqs, "receive_message")
    assert raised.type is kind
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("answers", ["never", "by hanging up"])
async def test_a_server_that_gives_no_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch, answers: str) -> None:
    monkeypatch.setattr("metroline.agents.gateways.sqs.client.READ_SECONDS", 0.05)
    ended = asyncio.Event()

    async def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answers == "never":
            await ended.wait()
        writer.close()

    async with await asyncio.start_server(meet, HOST, 0) as server:
        options = SqsSource(kind="sqs", queue="orders", endpoint=f"http://{HOST}:{server.sockets[0].getsockname()[1]}")
        async with opened(options, 4) as client:
            with pytest.raises(SqsAway, match="the queue orders did not answer get_queue_url: "):
                await client.call("receive_message")
            assert client.counts.failures == {"get_queue_url": 1}
        ended.set()


def faults(*of: Callable[[], web.Response]) -> Callable[[], web.Response | None]:
    """Return answers that are given once each, before the usual ones."""
    left = list(of)
    return lambda: left.pop(0)() if left else None


THROTTLED = partial(failure, "RequestThrottled", "slower")
FOR_THE_MOMENT = (partial(web.Response, status=429), partial(web.Response, status=503), THROTTLED)


class Topic:
    """A source topic in memory."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def put(self, messages: Sequence[SourceMessage]) -> dict[str, str]:
        self.ids += [str(dict(one.headers)["sqs-message-id"]) for one in messages]
        return {}

    async def holds(self, ids: Collection[str], since: int) -> frozenset[str]:
        return frozenset(set(self.ids).intersection(ids))

    def fits(self, message: SourceMessage) -> bool:
        return True


async def until(held: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(30):
        while not held():
            await asyncio.sleep(0.01)


async def test_a_receiver_waits_for_a_queue_that_is_away_for_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metroline.agents.gateways.sqs.receiver.FIRST_WAIT_SECONDS", 0.01)
    sqs, topic = FakeSqs(), Topic()
    message = {"MessageId": "a", "ReceiptHandle": "r", "Body": "{}"}
    once = partial(web.json_response, {"Messages": [message]})
    sqs.answers["GetQueueAttributes"] = faults(*FOR_THE_MOMENT)
    sqs.answers["ReceiveMessage"] = faults(*FOR_THE_MOMENT, once)
    async with opened(source(sqs), 4) as client:
        receiver = SqsReceiver(client, topic, 1)
        running = asyncio.create_task(receiver.run())
        await until(lambda: client.counts.failures["get_queue_url"] >= 2)  # nobody listens yet
        async with sqs.running():
            await until(lambda: client.counts.calls["delete_message_batch"] == 1)
            receiver.stop()
            await running

    assert topic.ids == ["a"]
    [deleted] = [call.arguments["Entries"] for call in sqs.calls if call.action == "DeleteMessageBatch"]
    assert [one["ReceiptHandle"] for one in deleted] == ["r"]


async def test_a_receiver_without_a_right_ends_with_a_line(sqs: FakeSqs) -> None:
    sqs.answers["GetQueueUrl"] = partial(failure, "AccessDenied", "no policy", 403)
    async with opened(source(sqs), 4) as client:
        with pytest.raises(SqsRefused) as raised:
            await SqsReceiver(client, Topic(), 1).run()

    assert str(raised.value) == "the queue orders may not be used (get_queue_url): AccessDenied: no policy"


def outgoing(*names: str) -> list[Outgoing]:
    meta = Meta(None, {}, None, "source", 0, 0)
    return [Outgoing({"name": name}, f"source-0-{place}", meta) for place, name in enumerate(names)]


async def test_an_end_tries_again_what_is_refused_for_the_moment(sqs: FakeSqs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metroline.agents.gateways.sqs.end.WAITS_SECONDS", (0.0, 0.0, 0.0))
    sqs.answers["SendMessageBatch"] = faults(*FOR_THE_MOMENT)
    async with SqsEnd(kind="sqs", queue="orders", endpoint=sqs.url).open("shipped") as writer:
        assert await writer.write(outgoing("a", "b")) == [None, None]


@pytest.mark.parametrize("fault", [THROTTLED, partial(failure, "AccessDenied", "no policy", 403)])
async def test_records_of_an_end_wait_on_the_bus_if_that_does_not_help(
    sqs: FakeSqs, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], web.Response]
) -> None:
    monkeypatch.setattr("metroline.agents.gateways.sqs.end.WAITS_SECONDS", (0.0,))
    sqs.answers["SendMessageBatch"] = fault
    async with SqsEnd(kind="sqs", queue="orders", endpoint=sqs.url).open("shipped") as writer:
        [answer] = await writer.write(outgoing("a"))

    assert isinstance(answer, Delayed)
    assert answer.reason.startswith("the queue orders ")


async def test_only_the_record_with_content_that_sqs_does_not_take_is_refused(sqs: FakeSqs) -> None:
    def answer() -> web.Response | None:
        bodies = [one["MessageBody"] for one in sqs.calls[-1].arguments["Entries"]]
        if any("bad" in body for body in bodies):
            return failure("com.amazonaws.sqs#InvalidMessageContents", "a character")
        return None

    sqs.answers["SendMessageBatch"] = answer
    async with SqsEnd(kind="sqs", queue="orders", endpoint=sqs.url).open("shipped") as writer:
        first, bad, last = await writer.write(outgoing("first", "bad", "last"))

    assert (first, last) == (None, None)
    assert isinstance(bad, RefusedByEnd)
    assert str(bad) == "the queue orders does not take it: InvalidMessageContents: a character"


async def test_a_server_that_is_away_is_named() -> None:
    server = FakeSqs()
    with pytest.raises(SqsAway, match=f'did not answer get_queue_url: .*"{server.url}"'):
        await made(server, "receive_message")


async def test_an_answer_may_be_empty_or_have_a_lone_surrogate(sqs: FakeSqs) -> None:
    sqs.answers["DeleteMessageBatch"] = partial(web.Response, text="")
    sqs.answers["ReceiveMessage"] = partial(web.Response, text='{"Messages": [{"Body": "\\ud800"}]}')

    assert await made(sqs, "delete_message_batch", Entries=[]) == {}
    assert await made(sqs, "receive_message") == json.loads('{"Messages": [{"Body": "\\ud800"}]}')


async def problems(server: FakeSqs, queue: str = "orders", **config: str) -> list[QueueProblem]:
    settings = {name.replace("_", "."): value for name, value in config.items()}
    return await source_problems(source(server, queue), "orders.in", settings)


async def test_a_queue_that_can_be_used_has_no_problem_and_nothing_is_changed(sqs: FakeSqs) -> None:
    assert await problems(sqs, retention_ms="60000", cleanup_policy="delete") == []
    assert await SqsEnd(kind="sqs", queue="orders", endpoint=sqs.url).problem() is None

    for call in sqs.calls:
        assert call.action != "SendMessageBatch" or call.arguments["Entries"] == []
        assert call.action != "ReceiveMessage" or call.arguments["MaxNumberOfMessages"] > 10


async def test_the_rights_that_the_user_lacks_are_listed(sqs: FakeSqs) -> None:
    sqs.forbidden = {"ReceiveMessage", "DeleteMessageBatch", "SendMessageBatch"}

    text = "the queue orders: the user has no right to sqs:ReceiveMessage, sqs:DeleteMessage"
    assert await problems(sqs) == [QueueProblem(text)]
    end = SqsEnd(kind="sqs", queue="orders", endpoint=sqs.url)
    assert await end.problem() == "records wait: the queue orders: the user has no right to sqs:SendMessage"


async def test_an_end_needs_no_right_to_read_attributes(sqs: FakeSqs) -> None:
    sqs.forbidden = {"GetQueueAttributes"}

    assert await SqsEnd(kind="sqs", queue="orders", endpoint=sqs.url).problem() is None
    [problem] = await problems(sqs)
    assert problem.text.startswith("the queue orders may not be used (get_queue_attributes): AccessDeniedException: ")


async def test_a_queue_that_does_not_exist_is_a_problem(sqs: FakeSqs) -> None:
    sqs.answers["GetQueueUrl"] = NO_QUEUE
    text = "the queue orders does not exist: create it, or correct its name in line.toml"

    assert await problems(sqs) == [QueueProblem(text)]
    assert await SqsEnd(kind="sqs", queue="orders", endpoint=sqs.url).problem() == f"records wait: {text}"


async def test_a_fifo_queue_must_be_named_as_one(sqs: FakeSqs) -> None:
    sqs.attributes["FifoQueue"] = "true"

    assert await problems(sqs, "orders.fifo") == []
    text = "the queue orders is a FIFO queue, and its name must end with .fifo"
    assert await problems(sqs) == [QueueProblem(text)]


async def test_messages_that_may_count_twice_are_a_warning(sqs: FakeSqs) -> None:
    sqs.attributes["VisibilityTimeout"] = "2"

    found = await problems(sqs, retention_ms="1000", cleanup_policy="compact,delete")

    assert [one.is_fatal for one in found] == [False] * 3
    assert "has a visibility timeout of 2 s" in found[0].text
    assert "the topic orders.in keeps messages for 1 s (retention.ms)" in found[1].text
    assert "the topic orders.in is compacted (cleanup.policy)" in found[2].text


async def test_an_end_packs_records_up_to_the_size_that_its_queue_takes(sqs: FakeSqs) -> None:
    sqs.attributes["MaximumMessageSize"] = "2048"
    pack = [Outgoing({"n": n}, f"source-0-{n}", Meta(None, {}, None, "source", 0, n)) for n in range(100)]
    async with SqsEnd(kind="sqs", queue="orders", endpoint=sqs.url).open("shipped") as writer:
        await writer.write(pack)

    sent = [one["MessageBody"] for call in sqs.calls for one in call.arguments.get("Entries", ())]
    assert len(sent) > 1
    assert all(len(body) < 2048 for body in sent)
    assert sorted(json.loads(line)["n"] for body in sent for line in body.splitlines()) == list(range(100))
