"""A worker that is in none of its groups for a minute says so, and what may be the reason on the embedded broker."""

from __future__ import annotations

from typing import Any, cast

import pytest

from metroline.agents.kafka import join_watch
from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.join_watch import JOIN_SECONDS, JoinWatch


@pytest.mark.parametrize(
    ("embedded", "ending"),
    [(True, ": restart it"), (False, "of its topics"), (ClusterError("away"), "of its topics")],
)
async def test_a_group_that_is_not_joined_is_told_once_a_minute_until_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, embedded: Any, ending: str
) -> None:
    async def is_embedded(_: Cluster) -> bool:
        if isinstance(embedded, Exception):
            raise embedded
        return bool(embedded)

    monkeypatch.setattr(join_watch, "is_embedded", is_embedded)
    now, joined = [0.0], {"shop.on-ramp": False, "shop": True}
    watch = JoinWatch(cast(Cluster, None), lambda: joined, lambda: now[0])

    for second in range(int(2.5 * JOIN_SECONDS)):
        now[0] = float(second)
        await watch.check()
    said = [record.getMessage() for record in caplog.records]
    assert [text.split(", and")[0] for text in said] == [
        "this worker has not been in the consumer group shop.on-ramp for 60 s",
        "this worker has not been in the consumer group shop.on-ramp for 120 s",
    ]
    assert all(text.endswith(ending) for text in said)

    caplog.clear()
    joined["shop.on-ramp"] = True
    for second in range(300, 400):
        now[0] = float(second)
        await watch.check()
    assert not caplog.records
