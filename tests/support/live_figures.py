"""Stands for what reads the pulses of a line, for workers that serve their pages without a broker."""

from __future__ import annotations

from metroline.agents.pulses.line_state import LineState
from metroline.agents.pulses.live_state import LiveState
from metroline.agents.pulses.pulse import Pulse

NOW = 1_000_000.0


class Told:
    """The state of a line whose workers have sent these pulses."""

    def __init__(self, *pulses: Pulse) -> None:
        self._state = LineState("metrobus")
        for pulse in pulses:
            self._state.observe(pulse, NOW)

    async def state(self) -> LiveState:
        """Return the state of the line half a second later."""
        return self._state.snapshot(NOW + 0.5)

    async def close(self) -> None:
        """Do nothing."""
