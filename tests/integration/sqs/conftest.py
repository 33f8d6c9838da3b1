"""A server with the protocol of SQS for the tests of its queues, and a line whose records come from one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.depot import Depot
from tests.support.elasticmq import CREDENTIALS, ElasticMq, running_elasticmq


@pytest.fixture(scope="session")
def sqs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ElasticMq]:
    """Yield a server for all tests of the session."""
    with running_elasticmq(tmp_path_factory.mktemp("elasticmq")) as server:
        yield server


@pytest.fixture
def queue(sqs: ElasticMq, depot: Depot) -> str:
    """Return the queue from which the line receives: its visibility timeout is 3 s."""
    name = f"{depot.prefix}-in"
    sqs.create(name, VisibilityTimeout="3")
    (depot.folder / "line.toml").write_text(f'[source]\nkind = "sqs"\nqueue = "{name}"\nendpoint = "{sqs.url}"\n')
    depot.variables |= CREDENTIALS
    return name
