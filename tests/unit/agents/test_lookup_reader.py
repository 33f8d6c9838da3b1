"""Reading a lookup in a service: keys and values, new versions, and files that are missing or damaged."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from metroline import lookup
from metroline.agents.lookups import Lookup, reader
from metroline.agents.lookups import mapped_file as versions
from metroline.agents.lookups.errors import InvalidLookup, LookupDamaged, LookupMissing
from metroline.agents.lookups.paths import file_of
from tests.support.lookups import built
from tests.support.waiting import wait_until


@pytest.fixture(params=["opened at once", "opened in a thread"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of this test's lookups.

    Readers check for a new version at every access, and open each file either as a small or as a large one.
    """
    monkeypatch.setattr(reader, "_named", {})
    monkeypatch.setattr(reader, "MAX_INLINE_BYTES", 2**40 if request.param == "opened at once" else 0)
    monkeypatch.setenv("LOOKUP_DIR", str(tmp_path))
    monkeypatch.setattr(reader, "CHECK_SECONDS", 0.0)
    return tmp_path


def test_a_value_is_found_by_its_key_and_anything_else_is_the_default(folder: Path) -> None:
    built(folder, {"a": 1, "b": {"x": [None, 1.5]}, "ü": "text", "null": None})
    accounts = Lookup("accounts")

    assert [accounts.get(key) for key in ("a", "b", "ü", "null")] == [1, {"x": [None, 1.5]}, "text", None]
    assert accounts["a"] == 1
    assert (accounts.get("c"), accounts.get("c", 7)) == (None, 7)
    assert "null" in accounts
    assert "c" not in accounts
    assert len(accounts) == 4
    with pytest.raises(KeyError, match="c"):
        accounts["c"]


def test_a_whole_number_is_the_same_key_as_its_digits(folder: Path) -> None:
    built(folder, {1000: "a", "-7": "b", "007": "c", 2**62: "d"})
    accounts = Lookup("accounts")

    assert accounts.get(1000) == accounts.get("1000") == "a"
    assert accounts.get(-7) == accounts.get("-7") == "b"
    assert (accounts.get("007"), accounts.get(7), accounts.get(2**62)) == ("c", None, "d")


@pytest.mark.parametrize(
    "key",
    [None, True, 1.0, "", b"1", [], {}, (), "x" * 512, "ü" * 300, "\ud800", 10**600],
    ids=lambda key: repr(key)[:9],
)
def test_what_can_be_no_key_is_in_no_lookup(folder: Path, key: Any) -> None:
    built(folder, {"1": "a", "True": "b", "1.0": "c", "None": "d", "x" * 511: "e"})
    accounts = Lookup("accounts")

    assert accounts.get(key, "default") == "default"
    assert key not in accounts


def test_each_value_is_an_object_of_its_own(folder: Path) -> None:
    built(folder, {"a": {"tags": []}})
    accounts = Lookup("accounts")

    accounts.get("a")["tags"].append("changed")

    assert accounts.get("a") == {"tags": []}


def test_naming_a_lookup_opens_nothing_and_reading_one_that_is_missing_says_how_to_build_it(folder: Path) -> None:
    accounts = lookup("never-built")
    assert accounts is lookup("never-built")
    assert accounts

    with pytest.raises(LookupMissing) as missing:
        accounts.get("a")
    told = (
        f"there is no lookup 'never-built' in {folder}: build it with `metroline lookup build never-built FILE --key "
    )
    assert str(missing.value) == f"{told}COLUMN`"
    built(folder, {"a": 1}, "never-built")
    assert accounts.get("a") == 1


@pytest.mark.parametrize("name", ["", "Accounts", "../accounts", ".hidden", "a/b", "x" * 101, "a.lookup"])
def test_a_name_that_could_be_no_file_is_refused(name: str) -> None:
    with pytest.raises(InvalidLookup, match="cannot be named"):
        lookup(name)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def flipped(file: Path) -> None:
    """Flip one bit of an entry."""
    content = bytearray(file.read_bytes())
    content[content.index(b"customer")] ^= 1
    file.write_bytes(content)


def relabelled(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content.replace(b'"entries":2', b'"entries":9'))


def another(file: Path) -> None:
    file.write_bytes(b"something else\n" * 1_000)


DAMAGES = [cut, emptied, flipped, relabelled, another]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_one_line_that_names_it(folder: Path, damage: Callable[[Path], None]) -> None:
    built(folder, {"a": "customer a", "b": "customer b"})
    damage(file_of("accounts", folder))

    with pytest.raises(LookupDamaged) as told:
        Lookup("accounts").get("a")

    assert str(told.value).startswith(f"lookup accounts: {folder}/accounts.lookup is damaged or cannot be read: ")
    assert "\n" not in str(told.value)


def test_a_new_version_is_read_without_opening_the_lookup_anew(folder: Path) -> None:
    built(folder, {"a": 1, "b": 1})
    accounts = Lookup("accounts")
    assert accounts.get("a") == 1

    built(folder, {"a": 2, "c": 2, "d": 2})

    wait_until(lambda: accounts.get("a") == 2)
    assert ("b" in accounts, "c" in accounts, len(accounts)) == (False, True, 3)


def test_a_small_new_version_is_read_by_the_next_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKUP_DIR", str(tmp_path))
    monkeypatch.setattr(reader, "CHECK_SECONDS", 0.0)
    accounts = Lookup("accounts")
    for version in range(20):
        built(tmp_path, {"a": version})
        assert accounts.get("a") == version


def test_a_reader_looks_for_a_new_version_once_a_second(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks = [100.0], []
    monkeypatch.setattr(reader, "CHECK_SECONDS", 1.0)
    monkeypatch.setattr(reader, "monotonic", lambda: now[0])
    monkeypatch.setattr(reader, "_identity_at", lambda path: looks.append(now[0]))
    built(folder, {"a": 1})
    accounts = Lookup("accounts")

    for now[0] in (100.0, 100.5, 100.9, 101.0, 101.5, 103.0, 103.1):
        accounts.get("a")

    assert looks == [101.0, 103.0]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_new_version_is_told_once_and_the_old_one_is_read_on(
    folder: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    built(folder, {"a": 1})
    accounts = Lookup("accounts")
    accounts.open()
    (folder / "new").mkdir()
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setenv("LOOKUP_DIR", str(folder / "new"))
        built(folder / "new", {"a": "customer a", "b": "customer b"})
    damage(file_of("accounts", folder / "new"))

    with caplog.at_level(logging.WARNING):
        file_of("accounts", folder / "new").replace(file_of("accounts", folder))
        wait_until(lambda: accounts.get("a") == 1 and bool(caplog.messages))
        assert [accounts.get("a") for _ in range(50)] == [1] * 50

    [told] = caplog.messages
    assert told.startswith("lookup accounts: ")
    assert told.endswith("; the version that was read stays")
    built(folder, {"a": 3})
    wait_until(lambda: accounts.get("a") == 3)


def test_a_version_that_was_deleted_is_read_on(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    built(folder, {"a": 1})
    accounts = Lookup("accounts")
    accounts.open()
    file_of("accounts", folder).unlink()

    with caplog.at_level(logging.WARNING):
        assert [accounts.get("a") for _ in range(5)] == [1] * 5

    [told] = caplog.messages
    assert "is gone; the version that was read stays" in told


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux")
def test_what_was_replaced_is_not_kept_in_memory(folder: Path) -> None:
    accounts = Lookup("accounts")
    for version in range(5):
        built(folder, {"a": version})
        wait_until(lambda version=version: accounts.get("a") == version)  # type: ignore[misc]

    wait_until(lambda: Path("/proc/self/maps").read_text().count(str(file_of("accounts", folder))) == 1)


def test_any_number_of_threads_read_while_versions_change(folder: Path) -> None:
    built(folder, dict.fromkeys(range(100), 0))
    accounts = Lookup("accounts")

    def read(number: int) -> set[tuple[Any, ...]]:
        return {(accounts.get(number % 100), accounts.get(100)) for _ in range(2_000)}

    with ThreadPoolExecutor(8) as threads:
        found = threads.map(read, range(40))
        for version in range(1, 6):
            built(folder, dict.fromkeys(range(100), version))
        seen = set[tuple[Any, ...]]().union(*found)

    assert {missing for _, missing in seen} == {None}
    assert {value for value, _ in seen} <= set(range(6))


def test_a_version_that_is_replaced_while_it_is_checked_gives_way_to_the_new_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(folder, {"a": 1})
    checked, replaced = versions._checked, iter([2, 3])

    def check(file: Any) -> Any:
        label = checked(file)
        if (value := next(replaced, None)) is not None:
            built(folder, {"a": value})
        return label

    monkeypatch.setattr(versions, "_checked", check)
    assert Lookup("accounts").get("a") == 3


def test_a_large_lookup_that_is_being_checked_holds_up_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(folder, {"a": 1}, "large")
    built(folder, {"a": 2}, "small")
    checked, may_go_on = versions._checked, threading.Event()

    def check(file: Any) -> Any:
        if Path(file.name).name.startswith("large"):
            assert may_go_on.wait(30)
        return checked(file)

    monkeypatch.setattr(versions, "_checked", check)
    with ThreadPoolExecutor(1) as threads:
        large = threads.submit(Lookup("large").get, "a")
        assert Lookup("small").get("a") == 2
        may_go_on.set()
        assert large.result() == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_while_a_thread_opens_a_lookup_can_open_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(folder, {"a": 1})
    mapped, is_mapped = versions._mapped, threading.Event()

    def map_slowly(path: Path) -> Any:
        environment = mapped(path)
        is_mapped.set()
        time.sleep(0.2)
        return environment

    monkeypatch.setattr(versions, "_mapped", map_slowly)
    opening = threading.Thread(target=Lookup("accounts").open)
    opening.start()
    assert is_mapped.wait(30)
    assert _value_in_a_child("a") == 1
    opening.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_while_a_thread_opens_and_drops_lookups_can_open_them(folder: Path) -> None:
    built(folder, {"a": 1})
    is_over = threading.Event()

    def open_and_drop() -> None:
        while not is_over.is_set():
            Lookup("accounts").open()

    with ThreadPoolExecutor(2) as threads:
        dropping = [threads.submit(open_and_drop) for _ in range(2)]
        try:
            assert [_value_in_a_child("a") for _ in range(30)] == [1] * 30
        finally:
            is_over.set()
        for one in dropping:
            one.result()


def _value_in_a_child(key: str) -> int:
    """Fork, and return what the child finds under a key, a small number; 255 if it raises."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(Lookup("accounts").get(key))
        except BaseException:  # noqa: BLE001 - a child of a test must not go on as a test
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_reads_on_and_sees_new_versions(folder: Path) -> None:
    built(folder, {"a": 1})
    accounts = Lookup("accounts")
    accounts.open()
    child = os.fork()
    if child == 0:
        try:
            was = accounts.get("a")
            built(folder, {"a": 2})
            wait_until(lambda: accounts.get("a") == 2)
            os._exit(0 if was == 1 else 1)
        except BaseException:  # noqa: BLE001 - a child of a test must not go on as a test
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    wait_until(lambda: accounts.get("a") == 2)
