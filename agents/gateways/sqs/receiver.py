"""Receives the messages of a queue, puts them on the bus, and deletes each once the bus has confirmed it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol, cast

from metroline.agents.gateways.sqs.batches import MOST, Batches
from metroline.agents.gateways.sqs.client import POLL_SECONDS, SqsAway, SqsClient, SqsRefused
from metroline.agents.gateways.sqs.received import ATTRIBUTES, Received, SourceMessage

FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.5, 20.0
"""First and longest wait between two calls while SQS does not answer. The wait doubles with each."""

ANSWER_SECONDS = 0.2
"""Time that an answer of SQS may have been under way: the visibility timeout begins before it arrives."""

LOG_SECONDS = 30.0
"""Time between two lines in the log about calls that fail."""

FINISH_SECONDS = 5.0
"""Time that the messages in hand have when the worker ends. Others receive the rest."""

log = logging.getLogger(__name__)


class NotPut(Exception):
    """Raised if the bus has not confirmed all messages. It may have some of them all the same."""


class SourceTopic(Protocol):
    """The source topic of the line, to which messages are put."""

    async def put(self, messages: Sequence[SourceMessage]) -> Mapping[str, str]:
        """Write messages in this order, and return once the brokers have confirmed all; raise `NotPut`.

        The answer has those that the brokers will never take, by message id, each with the reason.
        """

    async def holds(self, ids: Collection[str], since: int) -> frozenset[str]:
        """Return those of these message ids that the topic holds.

        The messages have the timestamp `since`, in milliseconds since the epoch, or later ones. Wait for the brokers.
        """

    def fits(self, message: SourceMessage) -> bool:
        """Return whether the topic takes a message of this size."""


class SqsReceiver:
    """Has one long poll open while the queue is empty, and up to `receivers` calls while it has messages."""

    def __init__(self, client: SqsClient, topic: SourceTopic, receivers: int) -> None:
        self.client = client
        self.topic = topic
        self.most = receivers
        self.repeated = 0
        """The number of messages that were received again although the bus has them."""
        self.problem: str | None = None
        """The reason for which the last call failed; None if it succeeded."""
        self._visibility = 30.0
        self._in_hand: dict[str, Received] = {}
        self._polls: set[asyncio.Task[None]] = set()
        self._work: set[asyncio.Task[None]] = set()
        self._deletions: Batches[Received] = Batches(self._delete)
        self._stopping = asyncio.Event()
        self.ended = asyncio.Event()
        """Set when `run` has returned."""
        self._logged_at = float("-inf")

    @property
    def in_hand(self) -> int:
        """The number of messages that were received and not deleted yet."""
        return len(self._in_hand)

    async def run(self) -> None:
        """Receive until `stop`; raise `SqsRefused` if the queue cannot be used when it begins."""
        try:
            visibility = await self._patiently(self.client.visibility)
            if visibility is None:
                return
            self._visibility = float(max(1, visibility))
            self._begin_poll()
            while not self._stopping.is_set():
                if not self._polls:
                    self._begin_poll()
                await self._extend()
                await self._rest(min(1.0, self._visibility / 8))
        finally:
            await self._finish()
            self.ended.set()

    def stop(self) -> None:
        """Receive nothing more. `run` returns once the messages in hand are finished, or after a moment."""
        self._stopping.set()
        for poll in self._polls:
            poll.cancel()

    def _begin_poll(self) -> None:
        task = asyncio.create_task(self._poll())
        self._polls.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._polls.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("receiving from SQS failed, and begins again", exc_info=error)

    async def _poll(self) -> None:
        """Receive and put messages until another poll waits for them, too."""
        wait = FIRST_WAIT_SECONDS
        while not self._stopping.is_set():
            try:
                messages = await self._receive()
            except (SqsAway, SqsRefused) as error:
                self._failed(error)
                await self._rest(wait)
                wait = min(2 * wait, MAX_WAIT_SECONDS)
                continue
            self.problem, wait = None, FIRST_WAIT_SECONDS
            if not messages:
                if len(self._polls) > 1:
                    self._polls.discard(cast("asyncio.Task[None]", asyncio.current_task()))  # others look at it at once
                    return
                continue
            if len(messages) == MOST and len(self._polls) < self.most and not self._stopping.is_set():
                self._begin_poll()
            work = asyncio.create_task(self._take(messages))
            self._work.add(work)
            work.add_done_callback(self._work.discard)
            await asyncio.shield(work)

    async def _receive(self) -> list[Received]:
        """Make a call that waits for messages."""
        answer = await self.client.call(
            "receive_message",
            MaxNumberOfMessages=MOST,
            WaitTimeSeconds=POLL_SECONDS,
            AttributeNames=list(ATTRIBUTES),
            MessageAttributeNames=["All"],
        )
        received = [Received.of(one) for one in answer.get("Messages", ())]
        size = sum(len(one.source.value) for one in received)
        self.client.counts.count("receive_message", len(received), size)
        until = asyncio.get_running_loop().time() + self._visibility - ANSWER_SECONDS
        for one in received:
            one.visible_at = until
        return received

    async def _take(self, messages: Sequence[Received]) -> None:
        """Put messages on the bus and delete them, without those that are in hand or that the bus has already."""
        try:
            await self._take_new(self._new(messages))
        except Exception:  # a defect: the messages are received again
            for one in messages:
                self._forget(one)
            raise

    def _new(self, messages: Sequence[Received]) -> list[Received]:
        """Return the messages that are not in hand. Of the others, note the receipt handle."""
        fresh: list[Received] = []
        for one in messages:
            known = self._in_hand.get(one.id)
            if known is None:
                self._in_hand[one.id] = one
                fresh.append(one)
            else:  # its visibility timeout has passed: only the last receipt handle deletes it
                known.receipt, known.visible_at = one.receipt, one.visible_at
        return fresh

    async def _take_new(self, fresh: Sequence[Received]) -> None:
        again = [one for one in fresh if one.count > 1]
        present = await self._held(again) if again else frozenset[str]()
        self.repeated += len(present)
        await self._put([one for one in fresh if one.id not in present and self._fits(one)])
        self._deletions.add([one for one in fresh if self._in_hand.get(one.id) is one])

    def _forget(self, one: Received) -> None:
        """Note that a message is in hand no more, unless it was received once more since then and is in hand again."""
        if self._in_hand.get(one.id) is one:
            del self._in_hand[one.id]

    def _fits(self, one: Received) -> bool:
        if self.topic.fits(one.source):
            return True
        self._leave(one, "it is too large for the source topic")
        return False

    def _leave(self, one: Received, reason: str) -> None:
        """Leave a message to the queue, whose redrive policy moves it away once it was received often enough."""
        self._forget(one)
        self._complain(f"the message {one.id} stays in the queue: {reason}")

    async def _held(self, messages: Sequence[Received]) -> frozenset[str]:
        return await self.topic.holds([one.id for one in messages], min(one.first for one in messages))

    async def _put(self, messages: Sequence[Received]) -> None:
        """Return when the bus has all messages that it takes. It is asked before one is written again."""
        while messages := self._still_ours(messages):
            try:
                refused = await self.topic.put([one.source for one in messages])
            except NotPut as error:
                self._complain(f"messages wait for the source topic: {error}")
            else:
                for one in messages:
                    if one.id in refused:
                        self._leave(one, f"the source topic does not take it: {refused[one.id]}")
                return
            await asyncio.sleep(FIRST_WAIT_SECONDS)
            present = await self._held(messages)
            messages = [one for one in messages if one.id not in present]

    def _still_ours(self, messages: Sequence[Received]) -> list[Received]:
        """Return messages without those that another worker may have received by now, since this one stood still."""
        now = asyncio.get_running_loop().time()
        for one in messages:
            if one.visible_at <= now:
                self._forget(one)
        return [one for one in messages if one.visible_at > now]

    async def _delete(self, messages: Sequence[Received]) -> None:
        """Delete messages; those that cannot be deleted come again, and are recognized."""
        left = list(messages)
        for wait in (0.2, 1.0, 5.0, 0.0):
            entries = [{"Id": str(place), "ReceiptHandle": one.receipt} for place, one in enumerate(left)]
            try:
                answer = await self.client.call("delete_message_batch", Entries=entries)
            except (SqsAway, SqsRefused) as error:
                self._failed(error)
            else:
                self.client.counts.count("delete_message_batch")
                left = [left[int(one["Id"])] for one in answer.get("Failed", ())]
            if not left:
                break
            await asyncio.sleep(wait)
        for one in messages:
            self._forget(one)

    async def _extend(self) -> None:
        """Extend the visibility of messages of which half the time has passed, by the queue's own value.

        Once the time has passed, another worker may have a message, and it is not extended: that one's time would be.
        """
        clock = asyncio.get_running_loop().time
        due = [one for one in self._in_hand.values() if one.visible_at - clock() < self._visibility / 2]
        for first in range(0, len(due), MOST):
            now = clock()
            part = [one for one in due[first : first + MOST] if now < one.visible_at]
            if not part:
                continue
            entries = [
                {"Id": str(place), "ReceiptHandle": one.receipt, "VisibilityTimeout": int(self._visibility)}
                for place, one in enumerate(part)
            ]
            try:
                answer = await self.client.call("change_message_visibility_batch", Entries=entries)
            except (SqsAway, SqsRefused) as error:
                self._failed(error)
            else:
                self.client.counts.count("change_message_visibility_batch")
                failed = {int(one["Id"]) for one in answer.get("Failed", ())}
                for place, one in enumerate(part):
                    if place not in failed:
                        one.visible_at = now + self._visibility - ANSWER_SECONDS

    async def _finish(self) -> None:
        if self._work:
            await asyncio.wait(self._work, timeout=FINISH_SECONDS)
        await self._deletions.finish(FINISH_SECONDS)
        for task in (*self._polls, *self._work):
            task.cancel()

    async def _patiently(self, ask: Callable[[], Awaitable[int]]) -> int | None:
        """Return the answer to a question, which is asked until there is one; None if the worker ends first."""
        wait = FIRST_WAIT_SECONDS
        while not self._stopping.is_set():
            try:
                return await ask()
            except SqsAway as error:
                self._failed(error)
                await self._rest(wait)
                wait = min(2 * wait, MAX_WAIT_SECONDS)
        return None

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    def _failed(self, error: Exception) -> None:
        self.problem = str(error)
        self._complain(f"messages wait in SQS: {error}")

    def _complain(self, text: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            log.warning("%s", text)
