"""Building a lookup: the rows that are accepted or refused; a refused build leaves the current version in place."""

from __future__ import annotations

import gzip
import json
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metroline.agents.lookups import Lookup
from metroline.agents.lookups import builder as writer
from metroline.agents.lookups import external_sort as sorting
from metroline.agents.lookups.errors import LookupNotBuilt
from metroline.agents.lookups.paths import file_of
from metroline.app.inputs import lookup_rows
from metroline.app.inputs.csv_numbers import is_number
from metroline.app.inputs.lookup_builds import build_from_file
from metroline.app.inputs.row_files import Reading, UnreadableRecords
from metroline.routing.errors import MetrolineError
from tests.support.lookups import built, written
from tests.support.worlds import examples


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOKUP_DIR", str(tmp_path / "kept"))
    return tmp_path


def file(folder: Path, text: str, name: str = "accounts.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


CSV = "account,email,n\n1000,a@b,1\n007,,2.5\n1e3,c@d,\n"
JSON = '{"account": 1000, "email": "a@b", "n": 1}\n\n{"account": "007", "email": null, "n": 2.5}\n'


@pytest.mark.parametrize("name", ["accounts.csv", "accounts.csv.gz"])
def test_of_a_csv_a_key_is_the_text_that_stands_there_and_numbers_are_numbers(folder: Path, name: str) -> None:
    label = build_from_file("accounts", file(folder, CSV, name), "account", None)
    accounts = Lookup("accounts")

    assert accounts.get(1000) == {"email": "a@b", "n": 1}
    assert accounts.get("007") == {"email": None, "n": 2.5}
    assert accounts.get("1e3") == {"email": "c@d", "n": None}
    assert (label.entries, label.key, label.value, label.source) == (3, "account", None, str(folder / name))


def test_fields_of_a_csv_stay_text_where_that_is_asked_for(folder: Path) -> None:
    build_from_file("accounts", file(folder, CSV), "account", None, reading=Reading(as_text=True))
    assert Lookup("accounts").get(1000) == {"email": "a@b", "n": "1"}


@pytest.mark.parametrize("name", ["accounts.jsonl", "accounts.json.gz"])
def test_of_json_lines_values_keep_their_types(folder: Path, name: str) -> None:
    build_from_file("accounts", file(folder, JSON, name), "account", None)
    accounts = Lookup("accounts")

    assert accounts.get("1000") == {"email": "a@b", "n": 1}
    assert accounts.get("007") == {"email": None, "n": 2.5}


@pytest.mark.parametrize(("value", "found"), [("n", 1), ("email", "a@b"), ("account", "1000")])
def test_one_column_may_be_the_value(folder: Path, value: str, found: Any) -> None:
    build_from_file("accounts", file(folder, CSV), "account", value)
    assert Lookup("accounts").get(1000) == found


@pytest.mark.parametrize(("name", "text"), [("a.csv", "account,email\n"), ("a.jsonl", "\n")])
def test_a_lookup_may_be_empty_where_that_is_meant(folder: Path, name: str, text: str) -> None:
    rows = file(folder, text, name)
    assert build_from_file("accounts", rows, "account", None, allow_empty=True).entries == 0
    assert Lookup("accounts").get(1000) is None


KEPT = {"a": "the old version"}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "acount,n\n1,2\n", ":1: there is no column 'account'; there are acount, n"),
        ("a.csv", "account,account\n1,2\n", ":1: there are 2 columns 'account'"),
        ("a.csv", "account,n\n1,2\n,3\n", ":3: there is no key"),
        ("a.csv", "account,n\n1,2\n1,2,3\n", ":3: 3 fields, but the header names 2 columns"),
        ("a.tsv", "account;n\n1;2\n", ":1: the header 'account;n' is one column: if ';' separates"),
        ("a.csv", "", ": the file is empty"),
        ("a.csv", "account,n\n", ": there is no row in it; --allow-empty makes a lookup without entries"),
        ("a.csv", 'account,n\n1,2\n3,"4\n5,6\n7,8\n', ":3: unexpected end of data"),
        ("a.csv", 'account,n\n1,"2"3\n', ":2: ',' expected after '\"'"),
        ("a.csv", "account,n,n\n1,2,3\n", ":1: there are 2 columns 'n'"),
        ("a.jsonl", "\n\n", ": there is no row in it"),
        ("a.jsonl", '{"account": 1}\n{"n": 1}\n', ":2: there is no column 'account'; there are n"),
        ("a.jsonl", '{"account": null}', ":1: there is no key"),
        ("a.jsonl", '\n{"account": 1.5}', ":2: the key 1.5 is neither text nor a whole number"),
        ("a.jsonl", '{"account": true}', ":1: the key True is neither text nor a whole number"),
        ("a.jsonl", '{"account": "%s"}' % ("x" * 512), ":1: the key 'xxxx"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_row_is_refused_by_its_line_and_the_old_version_stays(
    folder: Path, name: str, text: str, told: str
) -> None:
    built(folder, KEPT)
    path = file(folder, text, name)

    with pytest.raises(UnreadableRecords) as refused:
        build_from_file("accounts", path, "account", None)

    assert str(refused.value).removeprefix(str(path)).startswith(told)
    check_only_the_old_version_is_there(folder)


def check_only_the_old_version_is_there(folder: Path) -> None:
    assert Lookup("accounts").get("a") == KEPT["a"]
    assert sorted(os.listdir(folder / "kept")) == [".accounts.lock", "accounts.lookup"]


@pytest.mark.parametrize("line", ["no json", "[1]", '{"account": 123456789012345678901234567890}', '{"account"'])
def test_a_line_that_could_be_no_record_can_be_no_row(folder: Path, line: str) -> None:
    built(folder, KEPT)

    with pytest.raises(UnreadableRecords, match=r"a\.jsonl:2: "):
        build_from_file("accounts", file(folder, f'{{"account": 1}}\n{line}\n', "a.jsonl"), "account", None)

    check_only_the_old_version_is_there(folder)


def test_a_packed_file_with_a_wrong_byte_is_refused(folder: Path) -> None:
    built(folder, KEPT)
    path = file(folder, CSV + "x,y,1\n" * 100, "a.csv.gz")
    packed = bytearray(path.read_bytes())
    for place in range(12, len(packed) - 12):
        packed[place] ^= 0xFF
    path.write_bytes(packed)

    with pytest.raises(UnreadableRecords, match=r"a\.csv\.gz cannot be read: "):
        build_from_file("accounts", path, "account", None)

    check_only_the_old_version_is_there(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_rows_may_come_out_of_a_pipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup_rows, "REPORT_ROWS", 1)
    pipe = folder / "rows.jsonl"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_text, args=(JSON,))
    writing.start()
    assert build_from_file("accounts", pipe, "account", None).entries == 2
    writing.join()


@pytest.mark.parametrize("text", ["-0", "0123", "\uff11\uff12", "\u0663", "1_000", "nan", "9" * 20])
def test_what_only_looks_like_a_number_stays_text(text: str) -> None:
    assert not is_number(text)


def test_a_packed_file_that_is_cut_off_is_refused(folder: Path) -> None:
    built(folder, KEPT)
    path = file(folder, CSV * 100, "a.csv.gz")
    os.truncate(path, path.stat().st_size - 9)

    with pytest.raises(UnreadableRecords, match=r"a\.csv\.gz cannot be read: "):
        build_from_file("accounts", path, "account", None)

    check_only_the_old_version_is_there(folder)


@pytest.mark.parametrize("run_bytes", [1, sorting.RUN_BYTES])
def test_a_key_that_comes_twice_is_told_with_both_lines(
    folder: Path, monkeypatch: pytest.MonkeyPatch, run_bytes: int
) -> None:
    monkeypatch.setattr(sorting, "RUN_BYTES", run_bytes)
    built(folder, KEPT)
    path = file(folder, '{"k": "7"}\n{"k": 8}\n\n{"k": 7}\n', "a.jsonl")

    with pytest.raises(LookupNotBuilt) as refused:
        build_from_file("accounts", path, "k", None)

    assert str(refused.value) == f"{path}:4: the key '7' was on line 1 already: each may come once"
    check_only_the_old_version_is_there(folder)


def test_more_entries_than_memory_is_given_are_sorted_on_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "RUN_BYTES", 50_000)
    monkeypatch.setattr(sorting, "BATCH_BYTES", 1_500)
    values = {str(key): f"value {key}" for key in random.Random(1).sample(range(100_000), 5_000)}

    built(folder, values)

    accounts = Lookup("accounts")
    assert len(accounts) == 5_000
    assert all(accounts.get(key) == value for key, value in values.items())
    assert sorted(os.listdir(folder / "kept")) == [".accounts.lock", "accounts.lookup"]


@settings(examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=120),
        st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(), st.lists, max_leaves=4),
    )
)
def test_whatever_was_written_is_read(folder: Path, values: dict[str, Any]) -> None:
    (folder / "kept").mkdir(exist_ok=True)
    built(folder, values or {"one": 1})

    accounts = Lookup("accounts")
    assert {key: accounts.get(key) for key in values} == values


@pytest.mark.parametrize("size", [900, 1_100, 2_000, 4_096, 100_000, 3_000_000])
def test_values_of_any_size_find_room(folder: Path, size: int) -> None:
    values = {f"{number:0500}": "x" * size for number in range(max(3, 3_000_000 // size))}
    built(folder, values)
    accounts = Lookup("accounts")
    assert all(accounts.get(key) == value for key, value in values.items())


def test_what_a_build_that_died_left_behind_is_removed_by_the_next(folder: Path) -> None:
    built(folder, KEPT)
    left = folder / "kept" / ".accounts.building"
    left.mkdir()
    (left / "run-0").write_bytes(b"half")

    built(folder, KEPT)

    check_only_the_old_version_is_there(folder)


def test_two_builds_of_one_lookup_do_not_run_at_once(folder: Path) -> None:
    with (
        writer.lock("accounts", folder / "kept", wait=False),
        pytest.raises(LookupNotBuilt, match="is being built by another process: wait until it is done"),
    ):
        built(folder, KEPT)
    built(folder, KEPT)


def test_a_folder_that_cannot_be_written_to_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = written(folder / "rows.jsonl", [{"key": 1, "value": 2}])
    monkeypatch.setenv("LOOKUP_DIR", str(rows / "below"))

    with pytest.raises(LookupNotBuilt, match="cannot be written to: Not a directory; LOOKUP_DIR names another folder"):
        build_from_file("accounts", rows, "key", "value")


@pytest.mark.parametrize("step", ["_write", "_seal"])
def test_a_disk_that_fails_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    built(folder, KEPT)
    monkeypatch.setattr(writer, step, fail)

    with pytest.raises(LookupNotBuilt, match=r"lookup accounts was not built: .*: No space left on device"):
        built(folder, {"a": 2})

    assert not (folder / "kept" / ".accounts.building").exists()


def test_the_label_says_what_was_built_and_when(folder: Path) -> None:
    label = built(folder, {"a": 1, "b": 2})
    content = file_of("accounts", folder / "kept").read_bytes()

    assert label.entries == 2
    assert label.built_at.endswith("+00:00")
    told = json.loads(content[label.size : -16])
    assert (told["entries"], told["size"]) == (2, label.size)
    assert issubclass(LookupNotBuilt, MetrolineError)
