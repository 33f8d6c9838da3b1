"""`push` sends a file as it is, blank lines left out, and warns of the lines that are no records."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from metroline.app.cli import cli
from tests.support.brokers import Broker


@pytest.fixture
def push(broker: Broker, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setenv("BROKER_URL", broker.url)
    monkeypatch.setenv("PREFIX", prefix)
    file = tmp_path / "records.jsonl"
    file.write_text('{"a": 1}\n\nitem;price\n')
    return CliRunner().invoke(cli, ["push", "--records", str(file)])


def test_a_line_that_is_no_record_is_sent_and_warned_of(push: Result, prefix: str) -> None:
    assert push.exit_code == 0
    assert push.stdout == f"2 records were written to {prefix}.source\n"
    assert "1 of 2 lines is no record" in push.stderr
    assert "line 3, 'item;price': not valid JSON" in push.stderr
    assert push.stderr.rstrip().endswith("; expect dead letters, malformed_record")
