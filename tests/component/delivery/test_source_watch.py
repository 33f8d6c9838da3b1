"""A source topic that takes the place of the one that is read ends the worker, with the setting to raise."""

from __future__ import annotations

import logging

import pytest

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.on_ramp import SourceRenewed
from metroline.agents.source_watch import SourceWatch


class Topic:
    """A topic whose id the test sets."""

    def __init__(self) -> None:
        self.id: str | None = "first"
        self.is_away = False

    async def look_up(self) -> str | None:
        if self.is_away:
            raise ClusterError("no Kafka broker answers")
        return self.id


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
async def watch(topic: Topic) -> SourceWatch:
    watch = SourceWatch("orders", topic.look_up, 2)
    await watch.on_start()
    return watch


async def test_the_same_topic_is_read_on(watch: SourceWatch) -> None:
    await watch.look()


async def test_another_topic_of_that_name_is_refused_with_the_next_epoch(topic: Topic, watch: SourceWatch) -> None:
    topic.id = "second"
    with pytest.raises(SourceRenewed, match=r"orders has been deleted and created again .*: set SOURCE_EPOCH to 3"):
        await watch.look()


async def test_a_deleted_topic_is_logged_once_and_its_successor_is_noticed(
    topic: Topic, watch: SourceWatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic.id = None
    with caplog.at_level(logging.WARNING):
        await watch.look()
        await watch.look()
    assert caplog.text.count("the source topic orders does not exist any more") == 1
    topic.id = "second"
    with pytest.raises(SourceRenewed):
        await watch.look()


async def test_a_broker_that_is_away_says_nothing_about_the_topic(topic: Topic, watch: SourceWatch) -> None:
    topic.is_away = True
    with pytest.raises(ClusterError):
        await watch.look()
    topic.is_away = False
    await watch.look()
