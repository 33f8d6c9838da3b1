"""Offsets from which Faust recovers the tables, as it asks for them."""

from __future__ import annotations

from typing import cast

from faust.types import TP

from metroline.agents.kafka.faust_transport import Consumer
from metroline.app.factory import create_app
from metroline.app.settings import Settings

OUTCOMES, JOURNEYS = TP("metrobus.table.outcomes", 0), TP("metrobus.table.journeys", 0)


async def test_a_partition_without_an_offset_is_read_from_its_beginning() -> None:
    consumer = cast(Consumer, create_app(Settings(broker_url="kafka://127.0.0.1:1")).consumer)

    await consumer.seek_wait({OUTCOMES: 7, JOURNEYS: None})

    assert [await consumer.position(tp) for tp in (OUTCOMES, JOURNEYS)] == [7, 0]
    assert consumer.buffers.reached == 7
    assert set(consumer.waiting()) == {OUTCOMES.topic, JOURNEYS.topic}
