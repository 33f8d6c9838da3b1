"""`metroline lookup`: its messages, their stream (stdout or stderr), and its exit codes."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from metroline.agents.lookups import reader
from metroline.agents.lookups.footer import MAGIC, TAIL
from metroline.agents.lookups.paths import file_of
from metroline.app.cli import cli
from tests.support.lookups import built


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for this test's lookups and a CSV to build one from.

    Readers check for a new version at every access.
    """
    monkeypatch.setenv("LOOKUP_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(reader, "_named", {})
    (tmp_path / "accounts.csv").write_text("account,email\n1000,a@b\n007,\n")
    return tmp_path


def metroline(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["lookup", *map(str, arguments)])


def test_what_is_built_is_found_and_listed(folder: Path) -> None:
    said = metroline("build", "accounts", folder / "accounts.csv", "--key", "account")
    assert (said.exit_code, said.stderr) == (0, "")
    assert said.stdout.startswith("accounts: 2 entries, ")
    assert said.stdout.endswith(f" bytes: {folder}/kept/accounts.lookup\n")

    found = metroline("get", "accounts", "1000")
    assert (found.exit_code, json.loads(found.stdout)) == (0, {"email": "a@b"})
    assert json.loads(metroline("get", "accounts", "007").stdout) == {"email": None}

    listed = "".join(metroline("list").stdout.split())
    assert [word for word in ("accounts", "account", "(all)", "accounts.csv") if word not in listed] == []
    [told] = json.loads(metroline("list", "--json", "-").stdout)
    assert told["name"] == "accounts"
    assert told["entries"] == 2
    assert told["key"] == "account"
    assert told["value"] is None
    assert told["source"] == str(folder / "accounts.csv")


def test_one_column_can_be_the_value_as_text(folder: Path) -> None:
    (folder / "zip.csv").write_text("town,zip\nAlbany,12207\n")
    metroline("build", "zip", folder / "zip.csv", "--key", "town", "--value", "zip", "--text")
    assert metroline("get", "zip", "Albany").stdout == '"12207"\n'


def test_a_key_that_is_not_there_exits_with_1(folder: Path) -> None:
    built(folder, {"a": 1})
    said = metroline("get", "accounts", "b")
    assert (said.exit_code, said.stdout, said.stderr) == (1, "", "error: lookup accounts has no key 'b'\n")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["get", "nowhere", "1"], 2, "error: there is no lookup 'nowhere' in "),
        (["get", "No Name", "1"], 2, "error: a lookup cannot be named 'No Name'"),
        (["build", "No Name", "accounts.csv", "--key", "account"], 2, "error: a lookup cannot be named 'No Name'"),
        (["build", "x", "accounts.csv", "--key", "acount"], 1, "error: accounts.csv:1: there is no column 'acount'; "),
        (["build", "x", "accounts.csv"], 2, "Error: NAME, FILE and --key are needed, or --line"),
        (["build", "x", "no.csv", "--key", "account"], 2, "Error: Invalid value for '[FILE]': File 'no.csv' does not"),
        (
            ["build", "x", "--line", "metroline.agents.lines.metrobus"],
            2,
            "Error: --line builds the line's own lookups",
        ),
        (["build", "--line", "no.such.line"], 2, "error: there is no line 'no.such.line'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, told: str
) -> None:
    monkeypatch.chdir(folder)
    said = metroline(*arguments)
    assert (said.exit_code, said.stdout) == (code, "")
    assert said.stderr.splitlines()[-1].startswith(told)


def test_a_damaged_lookup_is_listed_as_such_and_not_read(folder: Path) -> None:
    built(folder, {"a": 1})
    file_of("accounts", folder / "kept").write_bytes(b"something else, [red]and long enough for a label[/red]")

    listed = metroline("list")
    assert listed.exit_code == 0
    assert "damaged: its end is missing" in listed.stdout
    [told] = json.loads(metroline("list", "--json", "-").stdout)
    assert told["problem"].startswith("its end is missing")
    said = metroline("get", "accounts", "a")
    assert said.exit_code == 1
    assert said.stderr.startswith("error: lookup accounts: ")
    assert len(said.stderr.splitlines()) == 1


def test_a_label_of_another_version_is_told_and_the_others_are_listed(folder: Path) -> None:
    built(folder, {"a": 1})
    whole = file_of("accounts", folder / "kept").read_bytes()
    told = b'{"entries":1,"news":2}'
    newer = whole + told + TAIL.pack(MAGIC, len(told), zlib.crc32(told))
    file_of("newer", folder / "kept").write_bytes(newer)

    said = metroline("get", "newer", "a")
    assert (said.exit_code, len(said.stderr.splitlines())) == (1, 1)
    assert "its footer is not one of this version of Metroline" in said.stderr
    listed = {each["name"]: each.get("problem") for each in json.loads(metroline("list", "--json", "-").stdout)}
    assert listed["accounts"] is None
    assert str(listed["newer"]).startswith("its footer")


def test_a_home_that_nobody_knows_is_refused_by_the_name_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKUP_DIR", "~nobody-of-this-name/kept")
    said = metroline("list")
    told = "error: LOOKUP_DIR: nobody knows the home of that user: ~nobody-of-this-name/kept\n"
    assert (said.exit_code, said.stderr) == (2, told)


def test_an_empty_folder_is_told(folder: Path) -> None:
    assert metroline("list").stdout == f"there are no lookups in {folder}/kept\n"
    assert json.loads(metroline("list", "--json", "-").stdout) == []


def test_a_folder_that_is_a_file_is_refused_by_the_name_of_the_setting(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKUP_DIR", str(folder / "accounts.csv"))
    said = metroline("list")
    assert (said.exit_code, said.stderr) == (2, f"error: LOOKUP_DIR: not a folder: {folder}/accounts.csv\n")


def test_what_a_line_makes_itself_is_built_on_demand(folder: Path) -> None:
    said = metroline("build", "--line", "metroline.agents.lines.metrobus")
    assert said.exit_code == 0
    assert [line.partition(" entries")[0] for line in said.stdout.splitlines()] == [
        "metrobus.addresses: 4000",
        "metrobus.allowed: 3600",
    ]
    assert metroline("get", "metrobus.addresses", "40000006").stdout == '"customer40000006@bank.example"\n'
