"""The page about deployment names every topic of a line, so that an operator can create all of them beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from metroline.agents.kafka.topic_admin import TopicPlan
from metroline.agents.kafka.topics import Topics

PAGE = (Path(__file__).parents[3] / "docs" / "deployment.md").read_text("utf-8")
TABLE = PAGE.partition("| topic | content | kept |")[2].partition("\n\n")[0]
SINGLE = PAGE.partition("### Topics that others create")[2].partition(": one)")[0]
PLANS = list(Topics("orders", "orders.source", has_schedules=True).plans(4, ["NAME"], 1_000))


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_a_topic_has_a_row_and_its_number_of_partitions(plan: TopicPlan) -> None:
    address = f"`{plan.name.removeprefix('orders')}`"
    assert address in TABLE
    assert (address in SINGLE) == (plan.partitions == 1)
