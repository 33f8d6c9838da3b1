"""The shared broker of a test run: one for all of its users, and it ends with the last of them."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.support.brokers import kafka_jars
from tests.support.shared_broker import shared_broker
from tests.support.waiting import is_open, wait_until


def port_of(bootstrap: str) -> int:
    return int(bootstrap.rpartition(":")[2])


def runs(folder: Path) -> bool:
    """Return whether the program runs that ends with its broker. The broker's port may soon be that of another one."""
    found = psutil.process_iter(["cmdline", "status"])
    return any(str(folder) in (one.info["cmdline"] or ()) for one in found if one.info["status"] != "zombie")


def test_two_who_share_a_broker_meet_on_it_and_it_ends_with_the_second(tmp_path: Path) -> None:
    with shared_broker("embedded", tmp_path / "broker") as first:
        with shared_broker("embedded", tmp_path / "broker") as second:
            assert second == first
        assert is_open(port_of(first.bootstrap))
    wait_until(lambda: not runs(tmp_path / "broker"), timeout=120)


@pytest.mark.parametrize("name", ["embedded", "kafka"])
@pytest.mark.long
def test_who_comes_after_the_last_has_left_gets_another_broker(name: str, tmp_path: Path) -> None:
    if name == "kafka":
        kafka_jars()
    with shared_broker(name, tmp_path / "broker"):
        assert runs(tmp_path / "broker")
    wait_until(lambda: not runs(tmp_path / "broker"), timeout=120)
    with shared_broker(name, tmp_path / "broker") as second:
        assert is_open(port_of(second.bootstrap))
