"""A worker sends its pulse while the brokers take it, and nothing about it keeps the worker from its work."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec.structs import replace

from metroline.agents.kafka.producer import Confirmation, NotSent
from metroline.agents.membership.signatures import Signatures
from metroline.agents.pulses import pulse_sender
from metroline.agents.pulses.pulse import Pulse, TrackSum
from metroline.agents.pulses.pulse_sender import PulseSender

SIGNATURES = Signatures("line.pulses", None)


def pulse(is_last: bool) -> Pulse:
    known: dict[str, Any] = {"worker": "one", "url": "http://one:1", "group": "line@all", "parts": ("arrivals",)}
    return Pulse(**known, strategy="signpost", version=1, started=1.0, at=2.0, is_last=is_last)


class Brokers:
    """Take messages, and confirm them when a test says so."""

    def __init__(self) -> None:
        self.pulses: list[Pulse] = []
        self.open: list[Confirmation] = []

    async def send(self, key: bytes, value: bytes) -> Confirmation:
        assert key == b"one"
        self.pulses.append(Pulse.decode(value, SIGNATURES))
        self.open.append(asyncio.get_running_loop().create_future())
        return self.open[-1]


async def test_pulses_do_not_pile_up_while_the_brokers_are_away() -> None:
    brokers = Brokers()
    sender = PulseSender(SIGNATURES, pulse, brokers.send)
    for _ in range(5):
        await sender.beat()
    assert len(brokers.pulses) == 1
    brokers.open[0].set_exception(NotSent("away"))
    await asyncio.sleep(0)
    await sender.beat()
    assert len(brokers.pulses) == 2


async def test_a_worker_that_stops_says_so() -> None:
    brokers = Brokers()
    sender = PulseSender(SIGNATURES, pulse, brokers.send)
    await sender.on_stop()
    assert [one.is_last for one in brokers.pulses] == [True]


async def test_a_worker_says_that_it_stops_though_a_pulse_is_on_its_way_and_nothing_afterwards() -> None:
    brokers = Brokers()
    sender = PulseSender(SIGNATURES, pulse, brokers.send)
    await sender.beat()
    stopping = asyncio.create_task(sender.on_stop())
    await asyncio.sleep(0)
    brokers.open[0].set_exception(NotSent("away for a moment"))
    await stopping
    brokers.open[1].set_exception(NotSent("away for a moment"))
    await asyncio.sleep(0)
    await sender.beat()
    assert [one.is_last for one in brokers.pulses] == [False, True]


async def test_brokers_that_take_nothing_do_not_keep_a_worker_from_its_end(monkeypatch: Any) -> None:
    monkeypatch.setattr(pulse_sender, "LAST_SECONDS", 0.05)

    async def never(key: bytes, value: bytes) -> Confirmation:
        await asyncio.Event().wait()
        raise AssertionError

    async with asyncio.timeout(30):
        await PulseSender(SIGNATURES, pulse, never).on_stop()


async def test_figures_that_cannot_be_read_or_are_too_large_end_nothing(monkeypatch: Any) -> None:
    brokers = Brokers()

    def broken(is_last: bool) -> Pulse:
        raise RuntimeError("the tables are gone")

    await PulseSender(SIGNATURES, broken, brokers.send).beat()
    monkeypatch.setattr(pulse_sender, "MAX_BYTES", 10)
    await PulseSender(SIGNATURES, pulse, brokers.send).beat()
    assert brokers.pulses == []


async def test_a_pulse_that_would_be_too_large_is_sent_without_its_tracks() -> None:
    brokers = Brokers()

    def large(is_last: bool) -> Pulse:
        return replace(pulse(is_last), tracks=(TrackSum("a" * 300, "b" * 300, False, 1),) * 1_000)

    await PulseSender(SIGNATURES, large, brokers.send).beat()
    assert [one.tracks for one in brokers.pulses] == [()]
