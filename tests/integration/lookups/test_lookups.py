"""Lookups across processes: killed builds, full disks, versions that change while others read, shared memory."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from metroline.agents.lookups import Lookup
from metroline.agents.lookups.mapped_file import mapped_files
from metroline.agents.lookups.paths import file_of
from tests.support.depot import Depot
from tests.support.lookups import built
from tests.support.waiting import wait_until

PROGRESS = re.compile(r"(reading|writing): [\d,]+( of [\d,]+ \(\d+ %\))?, after \d+ s")

READER = """
import json, sys, time
from metroline import lookup
from metroline.agents.lookups import reader
reader.CHECK_SECONDS = 0.0
accounts, seen = lookup("accounts"), []
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    found = accounts.get("first")
    version = found["version"]
    # an older one may be followed by a newer one between two gets, never the other way round
    others = [accounts.get(str(key))["version"] for key in range(0, 2000, 97)]
    assert others == sorted(others) and version <= others[0], (version, others)
    assert found["text"] == f"customer of {version}" * 50
    if not seen or seen[-1] != version:
        seen.append(version)
        print(version, flush=True)
    if version == int(sys.argv[1]):
        break
print(json.dumps(seen), flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOKUP_DIR", str(tmp_path / "kept"))
    return tmp_path


def versioned(folder: Path, version: int) -> None:
    """Build a version of a lookup in which every value contains the version."""
    value = {"version": version, "text": f"customer of {version}" * 50}
    built(folder, {"first": value, **{str(key): value for key in range(2_000)}})


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "metroline", "lookup", *map(str, arguments)]


def test_readers_in_other_processes_see_each_version_whole_and_without_a_restart(folder: Path) -> None:
    versioned(folder, 0)
    last = 60
    readers = [
        subprocess.Popen([sys.executable, "-c", READER, str(last)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "0\n"

    for version in range(1, last + 1):
        versioned(folder, version)

    for reader in readers:
        told, _ = reader.communicate(timeout=200)
        assert reader.returncode == 0
        seen = json.loads(told.splitlines()[-1])
        assert seen == sorted(set(seen))
        assert seen[0] == 0
        assert seen[-1] == last
        assert len(seen) > 5


@pytest.fixture
def many(folder: Path) -> Path:
    """Return a file that takes seconds to build."""
    file = folder / "many.csv"
    with file.open("w") as written:
        written.write("key,value\n")
        written.writelines(f"{key * 7919 % 1_000_003},value of {key}\n" for key in range(400_000))
    return file


def leftovers(folder: Path) -> list[Path]:
    return sorted((folder / "kept").glob(".accounts.building/*"))


@pytest.mark.parametrize("step", ["run-0", "new"])
def test_a_build_that_is_killed_leaves_the_old_version_and_the_next_one_tidies_up(
    folder: Path, many: Path, step: str
) -> None:
    built(folder, {"a": "old"})
    before = file_of("accounts", folder / "kept").read_bytes()

    building = subprocess.Popen(command("build", "accounts", many, "--key", "key", "--value", "value"))
    wait_until(lambda: any(file.name == step for file in leftovers(folder)), timeout=200)
    building.send_signal(signal.SIGKILL)
    assert building.wait() == -signal.SIGKILL

    assert leftovers(folder)
    assert file_of("accounts", folder / "kept").read_bytes() == before
    assert Lookup("accounts").get("a") == "old"
    built(folder, {"a": "new"})
    assert leftovers(folder) == []
    assert Lookup("accounts").get("a") == "new"


def limited() -> None:
    """Limit files to 1 MB, so that writing fails as it does on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def test_a_file_that_cannot_grow_is_one_line_and_the_old_version_stays(folder: Path, many: Path) -> None:
    built(folder, {"a": "old"})
    done = subprocess.run(
        command("build", "accounts", many, "--key", "key"),
        preexec_fn=limited,
        capture_output=True,
        text=True,
        check=False,
    )
    check_refused(folder, done)


def check_refused(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 1
    *progress, told = done.stderr.splitlines()  # a build that takes more than ten seconds says how far it is
    assert all(PROGRESS.fullmatch(line) for line in progress)
    assert told.startswith(f"error: lookup accounts was not built: {folder}/kept: ")
    assert told.endswith("; what was there before stays")
    assert leftovers(folder) == []
    assert Lookup("accounts").get("a") == "old"


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of 4 MB as the folder of lookups."""
    (folder / "kept").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder / "kept")], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs root on Linux, to mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder / "kept")], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="needs tmpfs")
@pytest.mark.parametrize("rows", [400_000, 60_000])
def test_a_full_disk_is_one_line_and_the_old_version_stays(small_disk: Path, many: Path, rows: int) -> None:
    """The disk is full once when a sorted run is written, and once when the lookup itself is."""
    built(small_disk, {"a": "old"})
    some = small_disk / "some.csv"
    some.write_text("".join(many.read_text().splitlines(keepends=True)[: rows + 1]).replace("value of", "v" * 60))

    done = subprocess.run(
        command("build", "accounts", some, "--key", "key"), capture_output=True, text=True, check=False
    )

    assert "No space left on device" in done.stderr
    check_refused(small_disk, done)


PREPARING = "from metroline.agents.services.line import Line; "
PREPARING += "from metroline.app.inputs.lookup_builds import prepare_lookups; "
PREPARING += "prepare_lookups(Line.load('metroline.agents.lines.metrobus'))"


def test_workers_that_start_at_once_make_what_is_missing_once(folder: Path) -> None:
    starting = [subprocess.Popen([sys.executable, "-c", PREPARING], stderr=subprocess.PIPE) for _ in range(4)]
    for one in starting:
        _, told = one.communicate(timeout=200)
        assert (one.returncode, told) == (0, b"")
    found = file_of("metrobus.allowed", folder / "kept").stat().st_ino
    subprocess.run([sys.executable, "-c", PREPARING], check=True)
    assert file_of("metrobus.allowed", folder / "kept").stat().st_ino == found


TOUCHING = """
import sys
from metroline import lookup
accounts = lookup("accounts")
print(sum(accounts.get(key) is not None for key in range(1_000_003)), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PSS is Linux's")
def test_two_processes_share_one_copy_of_the_pages(folder: Path, many: Path) -> None:
    subprocess.run(command("build", "accounts", many, "--key", "key"), check=True, stdout=subprocess.DEVNULL)
    size = mapped_files.at(file_of("accounts", folder / "kept")).footer.size
    readers = []
    try:
        for number in (1, 2):
            one = subprocess.Popen(
                [sys.executable, "-c", TOUCHING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            readers.append(one)
            assert one.stdout is not None
            assert one.stdout.readline() == "400000\n"
            shares = [share_of(reader.pid, file_of("accounts", folder / "kept")) for reader in readers]
            assert sum(shares) <= size * 1.02
            assert all(0.9 * size / number <= share <= 1.02 * size / number for share in shares)
    finally:
        for one in readers:
            one.communicate()


def share_of(process: int, file: Path) -> int:
    """Return a process's proportional share (PSS) of the file's pages, in bytes: a page that two share counts half."""
    return sum(one.pss for one in psutil.Process(process).memory_maps(grouped=True) if one.path == str(file))


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
async def test_a_worker_whose_lookup_is_missing_does_not_start(depot: Depot, folder: Path) -> None:
    line = folder / "shop"
    line.mkdir()
    (line / "services.py").write_text(
        "from metroline import lookup, service\nprices = lookup('prices')\n\n"
        "@service\ndef price(record):\n    return record\n"
    )
    (line / "routes.toml").write_text('[[rules]]\nafter = "source"\nto = "price"\n')
    worker = depot.start(LINE=str(line), LOOKUP_DIR=os.environ["LOOKUP_DIR"])
    await depot.until(lambda: worker.child.exit_code is not None, watch=False)
    depot.workers.remove(worker)
    worker.stop()

    assert worker.child.exit_code == 2
    assert worker.child.log.read_text().splitlines() == [
        f"error: there is no lookup 'prices' in {folder}/kept: build it with `metroline lookup build prices FILE --key "
        "COLUMN`"
    ]
