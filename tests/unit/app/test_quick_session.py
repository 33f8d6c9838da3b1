"""Workers that are replaced often have short sessions on the embedded broker, if the machine lets them."""

from __future__ import annotations

import pytest

from metroline.app.local.worker_process import LOCAL, quick_session


@pytest.mark.parametrize(("begin", "session"), [(0.4, 1.5), (2.04, 2.0), (20.0, 6.0)])
def test_the_session_is_as_long_as_a_worker_takes_to_begin_within_bounds(begin: float, session: float) -> None:
    settings = quick_session(begin)
    assert float(settings["BROKER_SESSION_TIMEOUT"]) == session <= float(LOCAL["BROKER_SESSION_TIMEOUT"])
    assert float(settings["BROKER_HEARTBEAT_INTERVAL"]) < session / 3
