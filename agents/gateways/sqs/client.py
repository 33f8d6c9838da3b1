"""A client of SQS: calls that are counted, and errors that say whether waiting helps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from metroline.agents.gateways.outside_end import MissingExtra
from metroline.agents.gateways.sqs.options import QueueOptions
from metroline.routing.errors import MetrolineError

CONNECT_SECONDS = 5.0

POLL_SECONDS = 20
"""Time that SQS waits for a message before it answers that there is none: the longest that it offers."""

READ_SECONDS = POLL_SECONDS + 15.0
"""Time for the answer to a call."""

CHUNK_BYTES = 64 * 1024
"""Each chunk of this size that a call carries is billed as a call."""

NO_QUEUE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})

NO_RIGHT = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)

INVALID = frozenset(
    {
        "BatchRequestTooLong",
        "InvalidMessageContents",
        "InvalidParameterValue",
        "InvalidParameterValueException",
    }
)
"""Errors of what a call contains: characters that a message may not have, or too many bytes."""


def is_invalid(code: str) -> bool:
    """Return whether an error is one of what a call contains, and not one of rights or of keys."""
    return code.rpartition("#")[2].removeprefix("AWS.SimpleQueueService.") in INVALID


class SqsRefused(MetrolineError):
    """Raised for an error that stays until somebody changes the queue, its rights or the options."""


class SqsAway(MetrolineError):
    """Raised if SQS does not answer, or asks for fewer calls: the call may succeed later."""


class SqsInvalid(SqsAway):
    """Raised if SQS does not take what a call contains, as it is."""


class CallCounts:
    """The calls of a queue, as they are billed."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """The number of calls that were answered, by their name."""
        self.chunks = 0
        """The number of calls as they are billed: one for each chunk of 64 KiB that a call carries."""
        self.messages = 0
        self.bytes = 0
        """Bytes of the messages that were sent or received, with their attributes."""
        self.failures: Counter[str] = Counter()
        """The number of calls that failed, by their name."""

    def count(self, call: str, messages: int = 0, size: int = 0) -> None:
        """Note a call that carried messages of `size` bytes in all."""
        self.calls[call] += 1
        self.chunks += max(1, -(-size // CHUNK_BYTES))
        self.messages += messages
        self.bytes += size


class SqsClient:
    """Makes the calls of one queue."""

    def __init__(self, client: Any, options: QueueOptions) -> None:
        self._client = client
        self._options = options
        self._url = options.queue if "://" in options.queue else ""
        self._asking = asyncio.Lock()
        self.counts = CallCounts()

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Make a call about the queue; raise `SqsRefused` or `SqsAway`."""
        async with self._asking:  # calls that begin together ask once
            if not self._url:
                found = await self._answer("get_queue_url", QueueName=self._options.queue)
                self._url = found["QueueUrl"]
                self.counts.count("get_queue_url")
        return await self._answer(name, QueueUrl=self._url, **arguments)

    async def visibility(self) -> int:
        """Return the visibility timeout of the queue, in seconds."""
        found = await self.call("get_queue_attributes", AttributeNames=["VisibilityTimeout"])
        self.counts.count("get_queue_attributes")
        return int(found["Attributes"]["VisibilityTimeout"])

    async def _answer(self, name: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import (  # an optional package
            BotoCoreError,
            ClientError,
            HTTPClientError,
            NoCredentialsError,
            NoRegionError,
            ParamValidationError,
            PartialCredentialsError,
            ProfileNotFound,
        )

        unusable = (NoCredentialsError, PartialCredentialsError, NoRegionError, ProfileNotFound, ParamValidationError)
        queue = self._options.queue
        try:
            answer: dict[str, Any] = await getattr(self._client, name)(**arguments)
        except ClientError as error:
            self.counts.failures[name] += 1
            found = error.response.get("Error", {})
            code, text = str(found.get("Code", "")), str(found.get("Message", ""))
            if code in NO_QUEUE:
                raise SqsRefused(
                    f"the queue {queue} does not exist: create it, or correct its name in line.toml"
                ) from error
            if code in NO_RIGHT:
                raise SqsRefused(f"the queue {queue} may not be used ({name}): {code}: {text}") from error
            if is_invalid(code):
                raise SqsInvalid(f"the queue {queue} does not take it: {code}: {text}") from error
            raise SqsAway(f"the queue {queue} did not answer {name}: {code}: {text}") from error
        except unusable as error:
            self.counts.failures[name] += 1
            raise SqsRefused(f"the queue {queue} cannot be used: {error}") from error
        except (TimeoutError, BotoCoreError, HTTPClientError, OSError) as error:
            self.counts.failures[name] += 1
            raise SqsAway(f"the queue {queue} did not answer {name}: {error or type(error).__name__}") from error
        return answer


@asynccontextmanager
async def opened(options: QueueOptions, connections: int) -> AsyncIterator[SqsClient]:
    """Open a client for a queue, which connects when it makes a call; raise `MissingExtra` or `SqsRefused`."""
    try:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session
    except ImportError as error:
        raise MissingExtra("SQS needs the package aiobotocore: pip install 'metroline[sqs]'") from error
    from botocore.exceptions import BotoCoreError

    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=connections,
        retries={"total_max_attempts": 1},  # whoever calls waits and tries again, and counts each call
    )
    made = get_session().create_client("sqs", options.region, endpoint_url=options.endpoint, config=config)
    try:
        client = await made.__aenter__()
    except (BotoCoreError, ValueError) as error:
        raise SqsRefused(f"the queue {options.queue} cannot be used: {error}") from error
    try:
        yield SqsClient(client, options)
    finally:
        await made.__aexit__(None, None, None)
