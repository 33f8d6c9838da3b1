"""Calls the async or blocking function of a service for a bounded time, whatever it does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, NamedTuple

from metroline.agents.stops.containment import SERVICE, contain_services
from metroline.agents.stops.standing import place_of_task, place_of_thread

MAX_GIVEN_UP, MAX_GIVEN_UP_EACH = 32, 8
"""Maximum number of given-up calls of a service that still run: the larger one of the first number, and the second one
for each unit of its `concurrency`."""

CANCEL_SECONDS = 5.0
"""Time that an async function has to end after it was cancelled, in seconds."""

Place = Callable[[], str]
"""Returns the place in the code at which a call stands."""

log = logging.getLogger(__name__)


class Called(NamedTuple):
    """The result of a call: the value that the function returned, or the error that it raised."""

    value: Any = None
    error: BaseException | None = None
    is_late: bool = False
    """True if the function did not end in time."""


class BoundedCalls:
    """Calls the function of one service. A call that does not end in time is given up, and runs on unheeded.

    An async function is cancelled first. A thread cannot be stopped from outside, and neither can a task that swallows
    its cancellation, so their number is limited: at `max_given_up` of them, calls wait until one ends.
    """

    def __init__(self, stop: str, *, is_async: bool, max_given_up: int) -> None:
        self.stop = stop
        self._start = self._start_task if is_async else self._start_thread
        self._is_async = is_async
        self._max_given_up = max_given_up
        self._given_up: dict[asyncio.Future[Called], Place] = {}
        self._room = asyncio.Event()
        self.stuck_since: float | None = None
        """Time from which on no call could begin, in seconds of `time.monotonic`; None while calls begin."""

    def standing(self) -> list[str]:
        """Return the places in the code at which given-up calls stand."""
        return [place() or "in a library" for place in self._given_up.values()]

    async def call(self, function: Callable[[Any], Any], argument: Any, seconds: float) -> Called:
        """Call the function and return its result, at the latest `seconds` after it began, plus `CANCEL_SECONDS`."""
        await self._wait_for_room()
        contain_services(asyncio.get_running_loop())
        call, place = self._start(function, argument)
        try:
            await _ends(call, seconds)
            if not call.done() and self._is_async:
                call.cancel()
                await _ends(call, CANCEL_SECONDS)
                if call.done():
                    called = _result(call)
                    return called if called.error is None else Called(is_late=True)
        except asyncio.CancelledError:  # the worker stops
            if self._is_async:
                call.cancel()
            self._keep(call, place)
            raise
        if call.done():
            return _result(call)
        log.warning("a call of the service %r was given up after %g s and still runs: %s", self.stop, seconds, place())
        self._keep(call, place)
        return Called(is_late=True)

    async def wait_for_end(self, seconds: float) -> None:
        """Return once the calls that were given up or cancelled have ended, at the latest after `seconds`."""
        if self._given_up:
            await asyncio.wait(list(self._given_up), timeout=seconds)

    async def _wait_for_room(self) -> None:
        while len(self._given_up) >= self._max_given_up:
            if self.stuck_since is None:
                self.stuck_since = time.monotonic()
            self._room.clear()
            await self._room.wait()

    def _keep(self, call: asyncio.Future[Called], place: Place) -> None:
        """Count a call until it ends."""
        if not call.done():
            self._given_up[call] = place
            call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Future[Called]) -> None:
        del self._given_up[call]
        self.stuck_since = None
        self._room.set()

    def _start_task(self, function: Callable[[Any], Any], argument: Any) -> tuple[asyncio.Future[Called], Place]:
        task = asyncio.create_task(call_captured(self.stop, function, argument))
        return task, partial(place_of_task, task)

    def _start_thread(self, function: Callable[[Any], Any], argument: Any) -> tuple[asyncio.Future[Called], Place]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Called] = loop.create_future()

        def run() -> None:
            SERVICE.set(self.stop)
            try:
                called = Called(function(argument))
            except BaseException as error:  # noqa: BLE001 - the caller gets every exception, even SystemExit
                called = Called(error=error)
            try:
                loop.call_soon_threadsafe(_answer, answer, called)
            except RuntimeError:  # the event loop was closed in the meantime
                return

        thread = Thread(target=run, daemon=True)
        thread.start()
        return answer, lambda: place_of_thread(thread.ident)


async def call_captured(stop: str, function: Callable[[Any], Any], argument: Any) -> Called:
    """Call an async function in a task of its own, so that whatever it raises or cancels is its own affair."""
    SERVICE.set(stop)
    try:
        return Called(await function(argument))
    except BaseException as error:  # noqa: BLE001 - the caller gets every exception, even SystemExit
        return Called(error=error)


async def _ends(call: asyncio.Future[Called], seconds: float) -> None:
    """Return when a call has ended, or after this many seconds: `asyncio.wait`, at a third of its cost."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def end(_call: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    call.add_done_callback(end)
    timer = loop.call_later(seconds, end)
    try:
        await waiter
    finally:
        timer.cancel()
        call.remove_done_callback(end)


def _result(call: asyncio.Future[Called]) -> Called:
    """Return the result of a call that has ended; a function that cancelled its own task may have none."""
    return Called(error=asyncio.CancelledError("the service cancelled itself")) if call.cancelled() else call.result()


def _answer(answer: asyncio.Future[Called], called: Called) -> None:
    if not answer.done():
        answer.set_result(called)
