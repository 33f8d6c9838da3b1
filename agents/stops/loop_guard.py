"""Interrupts services that keep the event loop from turning, and with it everything else that their worker does.

A plain function, or an async one that never awaits, runs in the event loop. A thread notices that the loop stands still
and sends the main thread a signal, whose handler raises `LoopBlocked` in the code of the service. Signals interrupt
`time.sleep`, locks and sockets as well. Go's runtime preempts goroutines in the same way, and with the same signal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mode import Service

from metroline.agents.formats.own_function import OwnDecoder, OwnEncoder
from metroline.agents.stops.bounded_calls import call_captured
from metroline.agents.stops.calls import call_directly
from metroline.agents.stops.containment import SERVICE, Contained, LoopBlocked
from metroline.agents.stops.resource_keeper import ResourceKeeper
from metroline.agents.stops.service_run import ServiceRun
from metroline.agents.stops.standing import place_of_thread
from metroline.routing.records.record_types import DeclaredTypes, MsgspecType, PydanticType, dumped

TICK_SECONDS = 1.0
"""Time between two looks at the event loop, in seconds."""

UNSTOPPABLE_SECONDS = 60.0
"""Time after which a worker ends whose service cannot be interrupted, in seconds after its limit."""

CALLERS = frozenset(
    {
        ServiceRun.run_on.__code__,
        call_captured.__code__,
        call_directly.__code__,
        Contained.send.__code__,
        Contained.throw.__code__,
        ResourceKeeper.keep.__code__,
        OwnDecoder.line_of.__code__,
        OwnEncoder.message_of.__code__,
        MsgspecType.read.__code__,
        PydanticType.read.__code__,
        DeclaredTypes.written.__code__,
        dumped.__code__,
    }
)
"""The functions that call the code of a line's author: services, resources, formats, and types of records."""

OURS = ("metroline.routing.", "metroline.agents.stops.", "metroline.agents.services.", "metroline.agents.formats.")
"""Beginnings of the names of modules whose functions are called by `CALLERS`, too, and must not be interrupted."""

__tracebackhide__ = True
"""The place of an interruption is that in the author's code; see `routing/service_errors.py`."""

log = logging.getLogger(__name__)


class LoopGuard(Service):
    """Watches the event loop of the main thread from another thread. Has no effect where there are no signals."""

    def __init__(self, limit: float, **kwargs: Any) -> None:
        """`limit` is the time for which formats and types of the author's own may block the event loop, in seconds."""
        super().__init__(**kwargs)
        self.limits: dict[str | None, float] = {None: limit}
        """This time for each stop whose service runs here; that of formats under None."""
        self._beats = 0
        self._blocked = 0.0
        """Time for which the event loop has stood still, in seconds."""
        self._is_over = threading.Event()
        self._before: Any = None

    @contextmanager
    def limited(self, limits: Mapping[str | None, float]) -> Iterator[None]:
        """Use other limits in this block, in seconds, for what runs under these names."""
        before = self.limits
        self.limits = {**before, **limits}  # a whole one: the thread may be looking at it
        try:
            yield
        finally:
            self.limits = before

    async def on_start(self) -> None:
        """Start the thread, if this is the main thread of a system that has the signal."""
        if hasattr(signal, "SIGURG") and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGURG, self._interrupt)
            threading.Thread(target=self._watch, name="loop guard", daemon=True).start()

    async def on_stop(self) -> None:
        """Let the thread end."""
        self._is_over.set()
        if self._before is not None:
            signal.signal(signal.SIGURG, self._before)

    @Service.task
    async def _beat(self) -> None:
        while not self.should_stop:
            self._beats += 1
            await asyncio.sleep(TICK_SECONDS / 2)

    def _watch(self) -> None:
        """Count the ticks without a beat. Time that the whole process was stopped does not count."""
        beats, main = self._beats, threading.main_thread().ident or 0
        while not self._is_over.wait(TICK_SECONDS):
            if beats != self._beats:
                beats, self._blocked = self._beats, 0.0
                continue
            self._blocked += TICK_SECONDS
            if self._blocked >= min(self.limits.values()):
                self._log(main)
                signal.pthread_kill(main, signal.SIGURG)
            is_over = self._blocked >= max(self.limits.values()) + UNSTOPPABLE_SECONDS
            if is_over and _is_in_service(sys._current_frames().get(main)):
                self._end(main)

    def _interrupt(self, _signal: int, frame: FrameType | None) -> None:
        """Raise `LoopBlocked` if the main thread is in the code of a service whose time is up."""
        limit = self.limits.get(SERVICE.get(), self.limits[None])
        if self._blocked >= limit and _is_in_service(frame):
            raise LoopBlocked(limit)

    def _log(self, main: int) -> None:
        """Log once, and then about every ten seconds, where the event loop stands."""
        if self._blocked % 10 < TICK_SECONDS or self._blocked - TICK_SECONDS < min(self.limits.values()):
            log.error("the event loop has stood still for %g s: %s", self._blocked, place_of_thread(main))

    def _end(self, main: int) -> None:
        """End this process at once. What is not acknowledged comes again, to this line's other workers first."""
        log.critical("the event loop cannot be freed, and this worker ends: it stands in %s", place_of_thread(main))
        logging.shutdown()
        os._exit(1)


def _is_in_service(frame: FrameType | None) -> bool:
    """Return whether a frame belongs to the code of a service, or to what that called."""
    while frame is not None and frame.f_back is not None:
        if frame.f_back.f_code in CALLERS and not str(frame.f_globals.get("__name__")).startswith(OURS):
            return True
        frame = frame.f_back
    return False
