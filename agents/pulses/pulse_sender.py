"""Sends this worker's pulse once a second. A pulse that cannot be sent is left out: the next one says all it said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from mode import Service

from metroline.agents.kafka.producer import Confirmation
from metroline.agents.kafka.regularly import regularly
from metroline.agents.membership.signatures import Signatures
from metroline.agents.pulses.pulse import MAX_BYTES, Pulse
from metroline.agents.pulses.pulse_figures import lean
from metroline.routing.errors import MetrolineError

LAST_SECONDS = 1.0
"""Time for which the last pulse may delay the end of a worker."""

PULSE_SECONDS = 1.0
"""Time between two pulses."""


class PulseSender(Service):
    """Sends the pulse of this worker."""

    def __init__(
        self,
        signatures: Signatures,
        pulse: Callable[[bool], Pulse],
        send: Callable[[bytes, bytes], Awaitable[Confirmation]],
        **kwargs: Any,
    ) -> None:
        """`pulse` returns the present pulse, and takes whether it is the last one; `send` takes a key and a value."""
        super().__init__(**kwargs)
        self._signatures = signatures
        self._pulse = pulse
        self._send = send
        self._open: Confirmation | None = None
        self._turn = asyncio.Lock()
        self._has_ended = False

    async def on_stop(self) -> None:
        """Send the last pulse, unless that takes long: the worker counts as silent then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                if self._open is not None:
                    await asyncio.wait([self._open])
                await self.beat(is_last=True)

    async def beat(self, *, is_last: bool = False) -> None:
        """Send a pulse, unless the one before is still on its way: none pile up while the brokers are away.

        After the last one, none is sent any more: it would bring the worker back to the pages.
        """
        async with self._turn:
            if self._has_ended or (self._open is not None and not self._open.done()):
                return
            self._has_ended = is_last
            await self._try(is_last)

    async def _try(self, is_last: bool) -> None:
        try:
            await self._send_now(self._pulse(is_last))
        except MetrolineError as error:
            self.log.debug("a pulse was not sent: %s", error)
        except Exception:  # whatever it is, live figures must not end a worker
            self.log.exception("the figures of this worker could not be read")

    async def _send_now(self, pulse: Pulse) -> None:
        value = pulse.encode(self._signatures)
        if len(value) > MAX_BYTES:
            value = lean(pulse).encode(self._signatures)
        if len(value) > MAX_BYTES:
            self.log.warning("the pulse of this worker is left out, since it has %d bytes", len(value))
            return
        self._open = await self._send(pulse.worker.encode(), value)
        self._open.add_done_callback(self._note)

    def _note(self, confirmation: Confirmation) -> None:
        if not confirmation.cancelled() and (error := confirmation.exception()) is not None:
            self.log.debug("a pulse was not sent: %s", error)

    @Service.task
    async def _send_regularly(self) -> None:
        async for _ in regularly(self, PULSE_SECONDS):
            await self.beat()
