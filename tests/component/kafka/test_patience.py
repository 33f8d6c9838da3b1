"""A question that brokers leave without an answer is asked again, unless it is refused or nobody wants the answer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from aiokafka.errors import KafkaError, NotCoordinatorForGroupError, TopicAuthorizationFailedError

from metroline.agents.kafka import patience
from metroline.agents.kafka.cluster import ClusterError, ClusterSilent
from metroline.agents.kafka.patience import answered


class Broker:
    """Answers the first questions with errors, one after the other, and the next one with a number."""

    def __init__(self, *errors: Exception) -> None:
        self.errors: Sequence[Exception] = errors
        self.asked = 0

    async def ask(self) -> int:
        self.asked += 1
        if self.asked <= len(self.errors):
            raise self.errors[self.asked - 1]
        return 42


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_SECONDS", 0.0)


async def test_brokers_are_asked_until_they_answer_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker(ClusterSilent("no Kafka broker answers"), NotCoordinatorForGroupError(), ClusterSilent("no"))
    assert await answered(broker.ask, "on-ramp") == 42
    assert caplog.messages[0] == "on-ramp cannot go on yet, and asks again: no Kafka broker answers"


@pytest.mark.parametrize("refusal", [ClusterError("the topic orders is gone"), TopicAuthorizationFailedError("orders")])
async def test_a_refusal_is_no_silence(refusal: ClusterError | KafkaError) -> None:
    broker = Broker(ClusterSilent("no"), refusal)
    with pytest.raises(type(refusal)):
        await answered(broker.ask, "on-ramp")
    assert broker.asked == 2


async def test_a_worker_that_stops_does_not_wait_for_an_answer() -> None:
    broker = Broker(ClusterSilent("no"), ClusterSilent("no"))
    with pytest.raises(ClusterSilent):
        await answered(broker.ask, "on-ramp", lambda: broker.asked < 2)
