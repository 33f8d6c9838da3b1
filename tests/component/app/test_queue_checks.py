"""The check of a line whose source and end are queues, which `metroline check --broker` and `doctor` show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metroline.agents.formats.format_check import FormatProblem
from metroline.agents.kafka.topic_survey import FoundTopic, Survey
from metroline.agents.services.line import Line
from metroline.app.operations.format_checks import check_line
from metroline.app.settings import Settings
from tests.support.elasticmq import CREDENTIALS
from tests.support.fake_sqs import FakeSqs

SERVICES = "from metroline import service\n\n\n@service\ndef weigh(record):\n    return record\n"

RULES = '[[rules]]\nafter = "source"\nto = "weigh"\n\n[[rules]]\nafter = "weigh"\nto = "shipped"\n'


async def found(tmp_path: Path, server: FakeSqs, **settings: Any) -> list[FormatProblem]:
    folder = tmp_path / "orders"
    folder.mkdir(exist_ok=True)
    (folder / "services.py").write_text(SERVICES)
    (folder / "routes.toml").write_text(RULES)
    queue = f'kind = "sqs"\nqueue = "orders"\nendpoint = "{server.url}"\n'
    (folder / "line.toml").write_text(f"[source]\n{queue}[ends.shipped]\n{queue}")
    return await check_line(Settings(line=str(folder), **settings), Line.load(str(folder)))


async def test_a_queue_is_checked_for_the_roles_that_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def survey(_: Any, topics: list[str]) -> Survey:
        return Survey({topic: FoundTopic(1, None, {"retention.ms": "1000"}) for topic in topics})

    monkeypatch.setattr("metroline.app.operations.format_checks.survey", survey)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    async with FakeSqs().running() as server:
        server.forbidden = {"SendMessageBatch"}

        source, end = await found(tmp_path, server)
        [only_end] = await found(tmp_path, server, role="service:shipped")
        nothing = await found(tmp_path, server, end_topics="delivered")

    assert str(source).startswith("the source: the topic orders.source keeps messages for 1 s (retention.ms), ")
    assert not source.is_fatal
    assert str(end) == "the end 'shipped': records wait: the queue orders: the user has no right to sqs:SendMessage"
    assert (only_end, nothing) == (end, [])
