"""The client of SQS: what it sends, the errors that it makes of answers, and the check of a queue."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from metroline.agents.gateways.outside_end import Outgoing
from metroline.agents.gateways.sqs.client import SqsAway, SqsInvalid, SqsRefused, opened
from metroline.agents.gateways.sqs.end import SqsEnd
from metroline.agents.gateways.sqs.options import SqsSource
from metroline.agents.gateways.sqs.queue_check import QueueProblem, source_problems
from metroline.routing.meta import Meta
from tests.support.elasticmq import CREDENTIALS
from tests.support.fake_sqs import Call, FakeSqs, failure


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
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
            partial(web.Response, status=503, text="<html>busy</html>"),
            SqsAway,
            "the queue orders did not answer receive_message: 503: <html>busy</html>",
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

    with pytest.raises(kind, match=re.escape(text)):
        await made(sqs, "receive_message")


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
