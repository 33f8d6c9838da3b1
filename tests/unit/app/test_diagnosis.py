"""`metroline doctor` says what keeps a worker from running, and what to do about it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from metroline.agents.membership.worker import WorkerInfo
from metroline.agents.services.line import Line
from metroline.app.cli import cli
from metroline.app.diagnosis.cluster_checks import clock_findings, unplayed
from metroline.app.diagnosis.finding import Status
from metroline.app.diagnosis.requirements import fits
from metroline.app.local.ports import free_port

GOOD = {"services.py": "from metroline import lookup, service\n\n@service\ndef pay(order):\n    return order\n"}
RULES = '[[rules]]\nafter = "source"\nto = "pay"\n'


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a line, with no broker at BROKER_URL."""
    folder = tmp_path / "orders"
    folder.mkdir()
    for name, text in {**GOOD, "routes.toml": RULES}.items():
        (folder / name).write_text(text)
    monkeypatch.setenv("BROKER_URL", f"kafka://127.0.0.1:{free_port()}")
    monkeypatch.setenv("WEB_PORT", str(free_port()))
    monkeypatch.setenv("LOOKUP_DIR", str(tmp_path / "kept"))
    return folder


def found(line: Path) -> dict[str, tuple[str, str]]:
    """Return the status and the text of the last finding about each subject."""
    ended = CliRunner().invoke(cli, ["doctor", "--line", str(line), "--json", "-"])
    told = json.loads(ended.stdout)
    assert (ended.exit_code, told["can_run"]) in [(0, True), (1, False)]
    return {one["check"]: (one["status"], one["text"]) for one in told["findings"]}


def test_a_broker_that_does_not_answer_is_an_error_with_a_remedy(line: Path) -> None:
    ended = CliRunner().invoke(cli, ["doctor", "--line", str(line)])
    assert ended.exit_code == 1
    lines = [" ".join(one.split()) for one in ended.stdout.splitlines()]
    assert lines[0].startswith("ok python Python 3.")
    assert "ok line orders: 1 service, 1 rule" in lines
    assert any(one.startswith("error broker no Kafka broker answers at 127.0.0.1:") for one in lines)
    assert "→ `metroline up` brings its own broker, and `metroline broker` runs it alone" in lines
    assert lines[-1].startswith("1 error, ")


def test_the_settings_of_the_line_are_checked_if_the_worker_reads_them(
    line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "from pydantic_settings import BaseSettings\n\nclass Settings(BaseSettings):\n    bank_url: str\n\n"
    (line / "services.py").write_text(own + GOOD["services.py"])
    status, text = found(line)["line settings"]
    assert status == "error"
    assert "BANK_URL is missing from the environment" in text
    monkeypatch.setenv("ROLE", "router")
    assert "line settings" not in found(line)
    monkeypatch.delenv("ROLE")
    monkeypatch.setenv("BANK_URL", "-")
    assert found(line)["line settings"][0] == "ok"


def test_settings_rules_and_lookups_that_are_wrong_are_found_without_a_broker(
    line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_HPS", "3")
    (line / "services.py").write_text(GOOD["services.py"] + "\nprices = lookup('prices')\n")
    findings = found(line)
    assert findings["lookups"][0] == "error"
    assert "there is no lookup 'prices'" in findings["lookups"][1]

    (line / "routes.toml").write_text(RULES.replace("pay", "pya"))
    findings = found(line)
    assert findings["line"][0] == "error"
    assert "'pya'" in findings["line"][1]
    assert findings["cluster"][0] == "skipped"

    monkeypatch.setenv("MAX_HOPS", "many")
    assert found(line)["settings"][0] == "error"


def test_a_port_that_is_taken_is_a_warning(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("WEB_PORT", str(other.getsockname()[1]))
        assert found(line)["web port"][0] == "warning"


def test_clocks_that_differ_are_named_with_the_direction() -> None:
    ahead, behind = clock_findings({"http://a:1": 5.25, "http://b:1": -90.0, "http://c:1": 0.1})
    assert (ahead.status, behind.status) == (Status.WARNING, Status.WARNING)
    assert ahead.text == "the clock of http://a:1 is 5.2 s ahead of this one"
    assert behind.text == "the clock of http://b:1 is 90.0 s behind this one"
    [same] = clock_findings({"http://c:1": -0.5})
    assert (same.status, same.text) == (Status.OK, "differs by at most 0.50 s from those of the workers")
    [nothing] = clock_findings({})
    assert nothing.status is Status.SKIPPED


def test_parts_of_the_line_that_no_live_worker_plays_are_named(line: Path) -> None:
    def alive(*parts: str) -> WorkerInfo:
        return WorkerInfo("id", "group", parts, (), "signpost", "http://a:1", 1, 0.0, 0.0)

    loaded = Line.load(str(line))
    [told] = unplayed(loaded, [alive("on-ramp"), alive("arrivals", "router")])

    assert (told.status, told.text) == (
        Status.WARNING,
        "none of them plays service:pay, so records wait there",
    )
    assert not list(unplayed(loaded, [alive("on-ramp", "service:pay"), alive("arrivals", "router")]))


@pytest.mark.parametrize(
    ("version", "bounds", "answer"),
    [
        ("0.15.3", ">=0.15.3,<0.16", True),
        ("0.16", "<0.16,>=0.15.3", False),
        ("0.15.2", ">=0.15.3,<0.16", False),
        ("8.3.1", ">=8.1.8,<8.4", True),
        ("3.0", ">=3,<4", True),
        ("3", ">=3.0.0,<4", True),
        ("1.0rc1", "==2.0", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, bounds: str, answer: bool) -> None:
    assert fits(version, bounds) is answer


@pytest.mark.parametrize(("variables", "is_said"), [({}, True), ({"METROLINE_TOKEN": "open sesame"}, False)])
def test_pages_that_strangers_can_read_are_a_warning(
    line: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_said: bool
) -> None:
    for name, value in {"WEB_BIND": "0.0.0.0", **variables}.items():
        monkeypatch.setenv(name, value)
    assert ("login" in found(line)) is is_said
