"""Commands that are printed can be copied into a shell: they are quoted, and have the variables that they need."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from metroline.agents.services.line import Line
from metroline.app.cli.live.events import LiveWorker
from metroline.app.cli.live.introduction import introduction
from metroline.app.cli.own_commands import metroline_command, python_command, typed
from metroline.app.scaffold.new_line import make_line
from metroline.app.settings import Settings


def test_words_and_values_of_variables_are_quoted() -> None:
    command = typed("metroline", "push", "--line", "my lines/it's", variables={"BROKER_URL": "kafka://a:1;kafka://b:2"})
    assert command == """BROKER_URL='kafka://a:1;kafka://b:2' metroline push --line 'my lines/it'"'"'s'"""
    assert shlex.split(command)[-1] == "my lines/it's"


def test_the_command_is_named_as_a_shell_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(sys.executable).parent
    monkeypatch.setattr(shutil, "which", lambda program: str(here / program))
    assert (metroline_command(), python_command()) == (["metroline"], ["python"])
    for elsewhere in ("/elsewhere/metroline", None):
        monkeypatch.setattr(shutil, "which", lambda _, found=elsewhere: found)
        assert (metroline_command(), python_command()) == ([sys.executable, "-m", "metroline"], [sys.executable])


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    make_line(Path("orders"))
    return tmp_path / "orders"


def introduced(**given: str) -> dict[str, str]:
    """Return the lines of `metroline up`, the text after the first colon by that before it."""
    settings = Settings.read(line="orders", **given)
    lines = introduction(settings, "kafka://127.0.0.1:9", Line.load("orders"), []).lines()
    return dict(one.partition(": ")[::2] for one in lines)


def test_the_commands_of_up_name_the_line_by_its_whole_path(line: Path) -> None:
    shown = introduced()
    metroline = shlex.join(metroline_command())
    assert shown["to send records"] == f"BROKER_URL=kafka://127.0.0.1:9 {metroline} push --line {line} --records 10"
    assert shown["to publish other rules"].endswith(f"metroline rules publish --line {line} {line / 'routes.toml'}")
    (line / "records.jsonl").unlink()
    assert introduced()["to send records"].endswith("--records FILE")


def test_the_commands_of_up_have_the_settings_that_find_the_line_but_no_secrets(
    line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = line.parent / "password"
    password.write_text("from a file")
    for name, value in {
        "PREFIX": "my-orders",
        "MAX_HOPS": "7",
        "BROKER_SECURITY": "SASL_PLAINTEXT",
        "BROKER_USERNAME": "ann",
        "BROKER_PASSWORD_FILE": "password",
        "CLUSTER_KEY": "k" * 32,
    }.items():
        monkeypatch.setenv(name, value)
    shown = introduced()
    assert shown["to send records"].startswith(
        f"BROKER_URL=kafka://127.0.0.1:9 BROKER_PASSWORD_FILE={password} BROKER_SECURITY=SASL_PLAINTEXT "
        "BROKER_USERNAME=ann PREFIX=my-orders "
    )
    assert "both commands also need CLUSTER_KEY, as set here" in shown
    assert "kkk" not in str(shown)


def test_up_tells_the_token_that_it_made_and_none_that_was_set(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = (LiveWorker(1, "http://127.0.0.1:6066", "log"),)
    made = introduction(Settings.read(line="orders"), "kafka://a:1", Line.load("orders"), [], "x" * 20)
    shown = "\n".join(replace(made, workers=worker).lines())
    assert f"log in at http://127.0.0.1:6066/login with the token {'x' * 20}" in shown
    monkeypatch.setenv("METROLINE_TOKEN", "open sesame")
    own = introduction(Settings.read(line="orders"), "kafka://a:1", Line.load("orders"), [])
    shown = "\n".join(replace(own, workers=worker).lines())
    assert "with METROLINE_TOKEN, as set here" in shown
    assert "sesame" not in shown
