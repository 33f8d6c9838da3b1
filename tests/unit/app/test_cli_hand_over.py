"""`metroline hand-over`: the report of what it did."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import TopicPartition
from click.testing import CliRunner

from metroline.app.cli import cli
from metroline.app.cli import worker as living

ROLES = ["--to", "on-ramp,router,arrivals", "--to", "service:contact_point,service:allow_list,service:log"]


@pytest.mark.parametrize(
    ("moved", "told"),
    [
        (
            {"line@all": {TopicPartition("line.arrivals", 0): 7, TopicPartition("line.arrivals", 1): 5}},
            "line@all: continues after the 12 messages that were read, in 2 partitions\n",
        ),
        ({}, "no messages were read yet: the new workers start with the first ones\n"),
    ],
)
def test_hand_over_says_where_each_group_reads_on(
    monkeypatch: pytest.MonkeyPatch, moved: dict[str, Any], told: str
) -> None:
    async def handed_over(*_: Any) -> dict[str, Any]:
        return moved

    monkeypatch.setattr(living, "hand_over_offsets", handed_over)

    assert CliRunner().invoke(cli, ["hand-over", *ROLES]).output == told
