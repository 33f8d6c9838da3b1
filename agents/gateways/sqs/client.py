"""A client of SQS: calls that are counted, and errors that say whether waiting helps."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from metroline.agents.gateways.outside_end import MissingExtra
from metroline.agents.gateways.sqs.options import QueueOptions
from metroline.agents.gateways.sqs.signature import SERVICE
from metroline.agents.gateways.sqs.signed_calls import CallRefused, SignedCalls
from metroline.routing.errors import MetrolineError

CONNECT_SECONDS = 5.0

POLL_SECONDS = 20
"""Time that SQS waits for a message before it answers that there is none: the longest that it offers."""

READ_SECONDS = POLL_SECONDS + 15.0
"""Time for the answer to a call."""

CHUNK_BYTES = 64 * 1024
"""Each chunk of this size that a call carries is billed as a call."""

NO_QUEUE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})

FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException"})

NO_LOGIN = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)

INVALID = frozenset(
    {
        "BatchRequestTooLong",
        "InvalidAttributeValue",
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


class SqsForbidden(SqsRefused):
    """Raised if the user has no right to make a call."""


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
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time for which calls have been counted."""
        return time.monotonic() - self._began

    def count(self, call: str, messages: int = 0, size: int = 0) -> None:
        """Note a call that carried messages of `size` bytes in all."""
        self.calls[call] += 1
        self.chunks += max(1, -(-size // CHUNK_BYTES))
        self.messages += messages
        self.bytes += size


class SqsClient:
    """Makes the calls of one queue."""

    def __init__(self, calls: SignedCalls, options: QueueOptions) -> None:
        self._calls = calls
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
        return int((await self._attributes("VisibilityTimeout"))["VisibilityTimeout"])

    async def message_bytes(self) -> int | None:
        """Return the number of bytes that a message may have; None if the user has no right to ask."""
        try:
            found = (await self._attributes("MaximumMessageSize")).get("MaximumMessageSize")
        except SqsForbidden:
            return None
        return None if found is None else int(found)

    async def _attributes(self, name: str) -> dict[str, str]:
        found = await self.call("get_queue_attributes", AttributeNames=[name])
        self.counts.count("get_queue_attributes")
        attributes: dict[str, str] = found.get("Attributes", {})
        return attributes

    async def _answer(self, name: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import (  # an optional package
            BotoCoreError,
            NoCredentialsError,
            NoRegionError,
            PartialCredentialsError,
        )

        queue = self._options.queue
        try:
            return await self._calls.make(name, arguments)
        except CallRefused as error:
            self.counts.failures[name] += 1
            if error.code in NO_QUEUE:
                raise SqsRefused(
                    f"the queue {queue} does not exist: create it, or correct its name in line.toml"
                ) from error
            if error.code in FORBIDDEN | NO_LOGIN:
                kind = SqsForbidden if error.code in FORBIDDEN else SqsRefused
                raise kind(f"the queue {queue} may not be used ({name}): {error}") from error
            if is_invalid(error.code):
                raise SqsInvalid(f"the queue {queue} does not take it: {error}") from error
            raise SqsAway(f"the queue {queue} did not answer {name}: {error}") from error
        except (NoCredentialsError, PartialCredentialsError, NoRegionError) as error:
            self.counts.failures[name] += 1
            raise SqsRefused(f"the queue {queue} cannot be used: {error}") from error
        except (TimeoutError, BotoCoreError, OSError) as error:
            self.counts.failures[name] += 1
            raise SqsAway(f"the queue {queue} did not answer {name}: {error or type(error).__name__}") from error


@asynccontextmanager
async def opened(options: QueueOptions, connections: int) -> AsyncIterator[SqsClient]:
    """Open a client for a queue, which connects when it makes a call; raise `MissingExtra` or `SqsRefused`."""
    try:
        from aiobotocore.config import AioConfig
        from aiobotocore.httpsession import AIOHTTPSession
        from aiobotocore.session import AioSession
    except ImportError as error:
        raise MissingExtra("SQS needs the package aiobotocore: pip install 'metroline[sqs]'") from error
    from botocore.exceptions import BotoCoreError

    made: list[Any] = []

    def http_session(**settings: Any) -> Any:
        made.append(AIOHTTPSession(**settings))
        return made[-1]

    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=connections,
        http_session_cls=http_session,  # it knows proxies and certificates, and the calls are made by it
    )
    try:
        session = AioSession(profile=options.profile)
        region = options.region or os.environ.get("AWS_REGION") or None  # botocore reads AWS_DEFAULT_REGION alone
        opening = session.create_client(SERVICE, region, endpoint_url=options.endpoint, config=config)
        meta = (await opening.__aenter__()).meta
    except (BotoCoreError, ValueError) as error:
        raise SqsRefused(f"the queue {options.queue} cannot be used: {error}") from error
    try:
        credentials = await session.get_credentials()
        yield SqsClient(SignedCalls(made[-1], credentials, meta.endpoint_url, meta.region_name), options)
    finally:
        await opening.__aexit__(None, None, None)
