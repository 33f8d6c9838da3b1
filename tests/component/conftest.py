"""A bench for each test of an agent."""

from __future__ import annotations

import pytest

from tests.support.bench import Bench


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a bench whose bus retries at once."""
    monkeypatch.setattr("metroline.agents.delivery.shipping.FIRST_WAIT_SECONDS", 0.0)
    return Bench.make()
