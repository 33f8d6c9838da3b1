"""An end that is a queue of SQS: sends packs of records, with an answer for each."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import orjson

from metroline.agents.gateways.outside_end import Answer, Delayed, EndWriter, Outgoing, OutsideEnd, RefusedByEnd
from metroline.agents.gateways.sqs.client import (
    CHUNK_BYTES,
    SqsAway,
    SqsClient,
    SqsInvalid,
    SqsRefused,
    is_invalid,
    opened,
)
from metroline.agents.gateways.sqs.options import SqsEndOptions
from metroline.agents.gateways.sqs.packing import (
    ID_ATTRIBUTE,
    LINE_ATTRIBUTE,
    Line,
    Packed,
    calls,
    line_text,
    packed,
    rounds,
)
from metroline.agents.gateways.sqs.queue_check import end_problem

WAITS_SECONDS = (0.2, 1.0, 5.0)
"""Waits between the attempts of a call. After the last one, its records wait on the bus."""

DELAY_SECONDS = 10.0
"""Time after which records that waited on the bus are sent again."""

CONNECTIONS = 16

GROUP_CHARACTERS = 128
GROUP = re.compile(rf"[!-~]{{1,{GROUP_CHARACTERS}}}")
"""The message groups that a queue takes."""

NO_ANSWER = "SQS did not answer for the message"

LOG_SECONDS = 30.0
"""Time between two lines in the log about calls that fail."""

log = logging.getLogger(__name__)


class SqsEnd(SqsEndOptions, OutsideEnd):
    """The table of an end with `kind = "sqs"`."""

    @property
    def order(self) -> bool | str:
        """The field whose values are message groups, or True for keys of source messages; False for packs."""
        return self.ordered and (self.group or True)

    def open(self, name: str) -> AbstractAsyncContextManager[EndWriter]:
        """Return what opens the end of this name and closes it again."""
        return _opened(name, self)

    async def problem(self) -> str | None:
        """Return why records would wait for the queue; None if it takes them, as far as can be told."""
        return await end_problem(self)


@asynccontextmanager
async def _opened(name: str, end: SqsEnd) -> AsyncIterator[EndWriter]:
    async with opened(end, CONNECTIONS) as client:
        yield SqsWriter(name, end, client)


class Failure(NamedTuple):
    """The reason why a message is not in the queue."""

    is_invalid: bool
    """True if SQS will never take the message as it is."""
    text: str


class SqsWriter:
    """Sends records to one queue."""

    def __init__(self, name: str, end: SqsEndOptions, client: SqsClient) -> None:
        self.name = name
        self.end = end
        self.client = client
        self._order = asyncio.Lock()
        self._most: int | None = None
        """Bytes up to which records share a message; None until the queue has said how many it takes."""
        self._logged_at = float("-inf")

    async def write(self, pack: Sequence[Outgoing]) -> Sequence[Answer]:
        """Send records and return an answer for each."""
        answers: list[Answer] = [Delayed(NO_ANSWER, DELAY_SECONDS)] * len(pack)
        lines, places = self._lines(pack, answers)
        messages = packed(lines, several=self.end.packed, most=await self._message_bytes())
        if self.end.is_fifo:
            async with self._order:
                found = await self._send_in_order(messages)
        else:
            found = await self._send_all(messages)
        for message, answer in found:
            for place in message.places:
                answers[places[place]] = answer
        return answers

    async def _message_bytes(self) -> int:
        if self._most is None and self.end.packed:
            try:
                self._most = await self.client.message_bytes() or CHUNK_BYTES
            except (SqsAway, SqsRefused):  # the calls that send say so
                return CHUNK_BYTES
        return self._most or CHUNK_BYTES

    def _lines(self, pack: Sequence[Outgoing], answers: list[Answer]) -> tuple[list[Line], list[int]]:
        """Return the records that can be sent, and their indexes; answer for the others."""
        lines, places = [], []
        for place, one in enumerate(pack):
            group = self._group(one) if self.end.is_fifo else None
            if self.end.is_fifo and not GROUP.fullmatch(group or ""):
                source = f"the field {self.end.group!r}" if self.end.group else "the key of the source message"
                has = f"it is {group[:GROUP_CHARACTERS]!r}" if group else "the record has none"
                answers[place] = RefusedByEnd(
                    f"the queue needs a message group of up to {GROUP_CHARACTERS} ASCII characters without spaces, and "
                    f"{has}: {source}"
                )
                continue
            lines.append(Line(line_text(one.record), one.id, group, one.prefix))
            places.append(place)
        return lines, places

    def _group(self, one: Outgoing) -> str | None:
        if self.end.group is None:
            return None if one.meta.key is None else one.meta.key.decode("utf-8", "replace")
        value = one.record.get(self.end.group)
        return value if isinstance(value, str) or value is None else orjson.dumps(value).decode()

    async def _send_all(self, messages: Sequence[Packed]) -> list[tuple[Packed, Answer]]:
        found = await asyncio.gather(*(self._send(call) for call in calls(messages)))
        return [one for of_call in found for one in of_call]

    async def _send_in_order(self, messages: Sequence[Packed]) -> list[tuple[Packed, Answer]]:
        """Send messages of a FIFO queue. If one of a group has to wait, the later ones of the group wait, too."""
        found: list[tuple[Packed, Answer]] = []
        waiting: dict[str | None, Delayed] = {}
        for each in rounds(messages):
            held = [(one, waiting[one.group]) for one in each if one.group in waiting]
            sent = await self._send_all([one for one in each if one.group not in waiting])
            waiting |= {one.group: answer for one, answer in sent if isinstance(answer, Delayed)}
            found += [*held, *sent]
        return found

    async def _send(self, call: Sequence[Packed]) -> list[tuple[Packed, Answer]]:
        """Send the messages of a call, and again those that fail for the moment."""
        left = list(call)
        found: list[tuple[Packed, Answer]] = []
        reason = ""
        for wait in (*WAITS_SECONDS, 0.0):
            tried = list(zip(left, await self._attempt(left), strict=True))
            left = []
            for one, failure in tried:
                if failure is None:
                    found.append((one, None))
                elif failure.is_invalid:
                    found += await self._divided(one, failure.text)
                else:
                    left.append(one)
                    reason = failure.text
            if not left:
                return found
            await asyncio.sleep(wait)
        self._complain(reason)
        return [*found, *((one, Delayed(reason, DELAY_SECONDS)) for one in left)]

    async def _divided(self, message: Packed, reason: str) -> list[tuple[Packed, Answer]]:
        """Send the halves of a message that SQS does not take, down to the record at fault, which is refused."""
        if len(message.places) == 1:
            return [(message, RefusedByEnd(reason))]
        first, second = message.halves()
        found = await self._send([first])
        waiting = next((answer for _, answer in found if isinstance(answer, Delayed)), None)
        if waiting is not None and message.group is not None:
            return [*found, (second, waiting)]
        return [*found, *await self._send([second])]

    async def _attempt(self, messages: Sequence[Packed]) -> list[Failure | None]:
        """Make a call and return for each message why it is not in the queue; None if it is."""
        try:
            return await self._call(messages)
        except SqsInvalid as error:
            if len(messages) == 1:
                return [Failure(True, str(error))]
            return [failure for one in messages for failure in await self._attempt([one])]
        except (SqsAway, SqsRefused) as error:
            return [Failure(False, str(error))] * len(messages)

    async def _call(self, messages: Sequence[Packed]) -> list[Failure | None]:
        entries = [_entry(place, one) for place, one in enumerate(messages)]
        answer = await self.client.call("send_message_batch", Entries=entries)
        self.client.counts.count("send_message_batch", len(messages), sum(one.size for one in messages))
        failures: list[Failure | None] = [Failure(False, NO_ANSWER)] * len(messages)
        for one in answer.get("Successful", ()):
            failures[int(one["Id"])] = None
        for one in answer.get("Failed", ()):
            code = str(one.get("Code", ""))
            failures[int(one["Id"])] = Failure(is_invalid(code), f"{code}: {one.get('Message', '')}")
        return failures

    def _complain(self, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            log.warning("records of the end %s wait on the bus: %s", self.name, reason)


def _entry(place: int, message: Packed) -> dict[str, Any]:
    attributes = {ID_ATTRIBUTE: message.ids, LINE_ATTRIBUTE: message.prefix}
    entry: dict[str, Any] = {
        "Id": str(place),
        "MessageBody": message.body.decode(),
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": text} for name, text in attributes.items() if text
        },
    }
    if message.group is not None:
        entry |= {"MessageGroupId": message.group, "MessageDeduplicationId": message.deduplication_id}
    return entry
