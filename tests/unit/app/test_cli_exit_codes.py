"""Exit codes: 2 for wrong use of any command, 1 where the work itself failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from metroline.app.cli import COMMANDS, cli
from metroline.app.local.ports import free_port
from metroline.routing.errors import MetrolineError, UsageError
from tests.support.project import ROOT

TABLE = ROOT / "agents" / "lines" / "metrobus" / "routes.toml"
LINE = "metroline.agents.lines.metrobus"

COMPLETE: dict[str, list[str]] = {
    "demo": [],
    "compare": ["--records", "1"],
    "new": ["orders"],
    "up": [],
    "worker": [],
    "broker": [],
    "push": ["--records", "1"],
    "cost": ["--records", "1", "--rate", "1"],
    "check": [str(TABLE)],
    "explain": [str(TABLE), "record.json"],
    "test": [LINE],
    "rules show": [],
    "rules diff": [str(TABLE)],
    "rules history": [],
    "rules preview": [str(TABLE)],
    "rules publish": [str(TABLE)],
    "rules rollback": ["1"],
    "dead-letters list": [],
    "dead-letters show": ["source-0-1"],
    "dead-letters replay": ["source-0-1"],
    "dead-letters jobs": [],
    "dead-letters pause": ["0123456789"],
    "dead-letters resume": ["0123456789"],
    "dead-letters cancel": ["0123456789"],
    "dead-letters discard": ["source-0-1", "--reason", "a test"],
    "trace": ["source-0-1"],
    "lookup build": ["--line", LINE],
    "lookup get": ["metrobus.addresses", "1"],
    "lookup list": [],
    "hand-over": ["--to", "all"],
    "doctor": [],
    "completion": ["bash"],
}
"""Arguments with which each command can run; `--help` lists the commands."""

NOT_OF_A_LINE = {"demo", "new", "worker", "broker", "test", "lookup get", "lookup list", "completion"}
"""Commands without --line."""

READS_SETTINGS = [name for name in COMPLETE if name not in {"check", "broker", "completion", "doctor", "new"}]
HAS_LINE = [name for name in COMPLETE if name not in {*NOT_OF_A_LINE, "doctor"}]
TALKS_TO_KAFKA = [
    *("compare", "demo", "worker", "push", "trace", "hand-over"),
    *(name for name in COMPLETE if name.startswith(("rules", "dead-letters"))),
]

WAIT_LONG = frozenset({"dead-letters cancel", "dead-letters pause", "dead-letters resume"})
"""Commands that ask the brokers for ten seconds, as `dead-letters jobs` does."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a working directory with one record, without a Kafka broker to connect to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("BROKER_URL", f"kafka://127.0.0.1:{free_port()}")
    monkeypatch.setenv("WEB_PORT", str(free_port()))
    Path("record.json").write_text('{"n": 1}')
    return tmp_path


def metroline(name: str, *more: str) -> Result:
    return CliRunner().invoke(cli, [*name.split(), *COMPLETE[name], *more])


def assert_ends(result: Result, code: int, words: str) -> None:
    """Assert the exit code, an empty stdout, and a last line on stderr with the reason and no traceback."""
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert words in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_every_command_is_in_the_table() -> None:
    assert {name.split()[0] for name in COMPLETE} == set(COMMANDS)


@pytest.mark.parametrize("name", COMPLETE)
def test_an_unknown_option_is_wrong_use(name: str) -> None:
    assert_ends(metroline(name, "--nonsense"), 2, "No such option: --nonsense")


@pytest.mark.parametrize("name", READS_SETTINGS)
def test_a_setting_that_cannot_be_used_is_wrong_use(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_HOPS", "many")
    assert_ends(metroline(name), 2, "error: MAX_HOPS: ")


@pytest.mark.parametrize("name", HAS_LINE)
def test_a_line_that_does_not_exist_is_wrong_use(name: str) -> None:
    assert_ends(metroline(name, "--line", "no.such.line"), 2, "error: there is no line 'no.such.line'")


def test_a_line_in_the_environment_that_does_not_exist_is_wrong_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINE", "no.such.line")
    for name in ("worker", "compare", "up", "push", "rules show", "dead-letters list", "hand-over"):
        assert_ends(metroline(name), 2, "error: there is no line 'no.such.line'")


def test_a_command_that_does_not_exist_is_answered_with_the_one_that_may_be_meant() -> None:
    assert_ends(CliRunner().invoke(cli, ["chek"]), 2, "No such command 'chek'; did you mean 'check'?")
    assert_ends(CliRunner().invoke(cli, ["teleport"]), 2, "No such command 'teleport'")
    assert_ends(CliRunner().invoke(cli, ["rules", "pubish"]), 2, "No such command 'pubish'; did you mean 'publish'?")
    assert_ends(CliRunner().invoke(cli, ["lookup", "x"]), 2, "No such command 'x'; there are build, get, list")


def test_up_warns_of_a_variable_that_is_nearly_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTING_STRATGY", "conductor")
    said = metroline("up", "--line", "no.such.line")
    assert said.stderr.startswith("warning: the variable ROUTING_STRATGY is no setting: is ROUTING_STRATEGY meant?\n")


def test_a_role_that_does_not_exist_is_wrong_use_wherever_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_ends(metroline("hand-over", "--to", "nonsense"), 2, "this line has no role 'nonsense'")
    assert_ends(metroline("hand-over", "--to", "routr"), 2, "did you mean 'router'?")
    monkeypatch.setenv("ROLE", "nonsense")
    assert_ends(metroline("worker"), 2, "error: ROLE: this line has no role 'nonsense'")


def test_a_strategy_that_does_not_exist_is_wrong_use_wherever_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_ends(metroline("compare", "--strategies", "teleport"), 2, "there is no strategy 'teleport'")
    monkeypatch.setenv("ROUTING_STRATEGY", "teleport")
    assert_ends(metroline("worker"), 2, "error: ROUTING_STRATEGY: there is no strategy 'teleport'")


@pytest.mark.parametrize("broker", ["http://127.0.0.1:9092", "kafka://nowhere:port"])
@pytest.mark.parametrize("name", ["compare", "up"])
def test_an_address_that_is_no_kafka_is_wrong_use_wherever_it_is_named(
    name: str, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_ends(
        metroline(name, "--port", str(free_port()), "--broker", broker)
        if name == "up"
        else metroline(name, "--broker", broker),
        2,
        "error: BROKER_URL: write kafka://host:port",
    )
    monkeypatch.setenv("BROKER_URL", broker)
    assert_ends(metroline("rules show"), 2, "error: BROKER_URL: write kafka://host:port")


@pytest.mark.parametrize("name", ["compare", "up"])
def test_missing_settings_of_a_line_are_found_before_a_worker_starts(name: str, tmp_path: Path) -> None:
    (tmp_path / "services.py").write_text(
        "from metroline import service\nfrom pydantic_settings import BaseSettings\n\n"
        "class Settings(BaseSettings):\n    shop_url: str\n\n"
        "@service\ndef price(order):\n    return order\n"
    )
    (tmp_path / "routes.toml").write_text('[[rules]]\nafter = "source"\nto = "price"\n')
    (tmp_path / "records.jsonl").write_text("{}\n")
    more = ["--port", str(free_port())] if name == "up" else []
    said = metroline(name, "--line", str(tmp_path), *more)
    assert_ends(said, 2, "error: the settings of the line: SHOP_URL is missing from the environment")


@pytest.mark.parametrize("name", ["dead-letters show", "dead-letters replay", "dead-letters discard"])
def test_letters_that_are_named_twice_are_wrong_use(name: str) -> None:
    assert_ends(metroline(name, "--group", "4be3b2"), 2, "error: name dead letters by their ids, or all of a group")


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("push", ["--records", "nothing.jsonl"], "error: --records nothing.jsonl: neither a number nor a file"),
        ("compare", ["--records", "nothing.jsonl"], "error: --records nothing.jsonl: neither a number nor a file"),
        ("dead-letters replay", ["--set", "amount"], "error: --set amount: write FIELD=VALUE"),
        ("dead-letters replay", ["--record", "nothing.json"], "File 'nothing.json' does not exist"),
        ("lookup get", ["another"], "unexpected extra argument"),
        ("broker", ["--port", "70000"], "70000 is not in the range"),
    ],
)
def test_an_argument_that_cannot_be_used_is_wrong_use(name: str, more: list[str], words: str) -> None:
    assert_ends(metroline(name, *more), 2, words)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in WAIT_LONG else ()) for name in TALKS_TO_KAFKA]
)
def test_a_kafka_that_does_not_answer_is_work_that_failed(name: str) -> None:
    assert_ends(metroline(name), 1, "error: no Kafka broker answers at 127.0.0.1:")


def test_a_table_that_is_not_valid_is_what_check_reports_with_1(folder: Path) -> None:
    table = folder / "routes.toml"
    table.write_text('[[rules]]\nafter = "source"\n')
    for name in ("check", "explain"):
        ended = CliRunner().invoke(cli, [name, str(table), *(["record.json"] if name == "explain" else [])])
        assert_ends(ended, 1, f"{table}:1: rule 1")


def test_a_file_without_records_is_work_that_failed(folder: Path) -> None:
    (folder / "record.json").write_text("")
    assert_ends(metroline("explain"), 1, "error: there are no records to explain")


def test_every_error_has_an_exit_code_of_its_base() -> None:
    assert MetrolineError.exit_code == 1
    assert UsageError.exit_code == 2


def test_ctrl_c_exits_with_1_and_one_word() -> None:
    stopped = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import metroline.app.cli.broker as module, metroline.app.cli as cli\n"
            "def interrupt(**options): raise KeyboardInterrupt\n"
            "module.broker.callback = interrupt\n"
            "import sys; sys.argv[1:] = ['broker']; cli.main()",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (stopped.returncode, stopped.stdout, stopped.stderr.strip()) == (1, "", "stopped")


WRITES = [
    "check",
    "explain",
    "test",
    "push",
    "compare",
    "lookup list",
    "rules show",
    "rules preview",
    "dead-letters list",
    "up",
    "new",
]


@pytest.mark.parametrize("name", WRITES)
def test_an_output_without_its_folder_is_wrong_use_before_the_work_begins(name: str) -> None:
    assert_ends(metroline(name, "--json", "nowhere/out.json"), 2, "there is no folder 'nowhere'")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("option", ["--json", "--junit"])
def test_an_output_that_cannot_be_written_is_one_line(option: str) -> None:
    assert_ends(
        metroline("test", option, "/dev/full"), 2, "error: /dev/full cannot be written: No space left on device"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_standard_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "metroline", "check", str(TABLE)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[0] == "error: [Errno 28] No space left on device"
    assert "Traceback" not in ended.stderr
