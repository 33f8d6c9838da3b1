"""The gateway in front of the source topic: a worker that cannot receive ends with one line."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast

import pytest

from metroline.agents.gateways.outside_end import MissingExtra
from metroline.agents.gateways.sqs.options import SqsSource
from metroline.agents.source_gateway import KafkaSourceTopic, SourceGateway


class Watched(SourceGateway):
    """A gateway that keeps the error with which it would end its worker."""

    error: BaseException | None = None

    async def crash(self, reason: BaseException) -> None:
        self.error = reason
        self.set_shutdown()


async def test_a_worker_without_the_library_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast(dict[str, Any], sys.modules), "aiobotocore.session", None)
    gateway = Watched(SqsSource(kind="sqs", queue="orders"), cast(KafkaSourceTopic, None))

    await gateway.start()
    while gateway.error is None:
        await asyncio.sleep(0.01)
    await gateway.stop()

    assert isinstance(gateway.error, MissingExtra)
    assert str(gateway.error) == "SQS needs the package aiobotocore: pip install 'metroline[sqs]'"
