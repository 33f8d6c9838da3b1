"""The settings that `metroline up` adds for a line on the embedded broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from metroline.agents.services.line import Line
from metroline.app.cli.up import for_embedded
from metroline.app.settings import Settings
from tests.support.depot import RULES, SERVICES

QUEUE = '[source]\nkind = "sqs"\nqueue = "orders"\n'


def line_of(folder: Path, options: str = "") -> Line:
    (folder / "services.py").write_text(SERVICES)
    (folder / "routes.toml").write_text(RULES)
    (folder / "line.toml").write_text(options)
    return Line.load(str(folder))


def test_nothing_is_received_from_a_queue_whose_messages_would_be_lost(tmp_path: Path) -> None:
    line = line_of(tmp_path, QUEUE)
    assert for_embedded(Settings(), line, 20.0)["END_TOPICS"] == "delivered"
    assert "END_TOPICS" not in for_embedded(Settings(end_topics="named"), line, 20.0)


@pytest.mark.parametrize(("rate", "wait"), [(20.0, None), (500.0, "0.05")])
def test_a_fast_line_gathers_and_every_line_has_many_partitions(tmp_path: Path, rate: float, wait: str | None) -> None:
    line = line_of(tmp_path)
    own = for_embedded(Settings(), line, rate)
    assert (own.get("FETCH_WAIT"), own["SOURCE_PARTITIONS"]) == (wait, "16")
    assert "END_TOPICS" not in own
    assert "SOURCE_PARTITIONS" not in for_embedded(Settings(source_partitions=3), line, rate)
