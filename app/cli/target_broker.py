"""The broker that a command works with: one that is named, or an embedded one for as long as the command runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.errors import KafkaError

from metroline.agents.kafka.cluster import Cluster
from metroline.app.local.embedded_broker import EmbeddedBroker
from metroline.app.local.worker_process import LOCAL
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError

EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class TargetBroker:
    """A broker with its address, its name in reports, and the settings that suit it."""

    url: str
    name: str
    cluster: Cluster
    environment: dict[str, str]
    embedded: EmbeddedBroker | None = None

    def check(self) -> None:
        """Raise `BrokerDied` if this is an embedded broker whose process has ended."""
        if self.embedded is not None:
            self.embedded.check()


@contextmanager
def target_broker(url: str | None, log: Path | None = None) -> Iterator[TargetBroker]:
    """Yield the broker at `url` or BROKER_URL. Without either, run an embedded broker while the block runs.

    The embedded broker's log goes to the file `log`, if one is named.
    """
    named = url or os.environ.get("BROKER_URL")
    if named:
        settings = Settings.read(broker_url=named)
        yield TargetBroker(named, named, settings.cluster(), {})
        return
    with EmbeddedBroker.start(log=log) as broker:
        try:
            yield TargetBroker(broker.url, EMBEDDED, Cluster.at(broker.url), LOCAL, broker)
        except (KafkaError, MetrolineError):
            broker.check()  # a broker that has died is the cause of whatever failed
            raise
