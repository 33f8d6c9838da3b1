"""The header `Host`: a name that somebody else could have resolve to this machine is refused."""

from __future__ import annotations

import pytest

from metroline.app.web_server.host_names import HostNames

OWN = ("worker-1.example.com", "box")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:6066",
        "127.0.0.1",
        "10.1.2.3:6066",
        "[::1]:6066",
        "localhost:6066",
        "LOCALHOST",
        "metroline.localhost:6066",
        "worker-1.example.com:6066",
        "worker-1.example.com.",
        "box",
    ],
)
def test_addresses_this_machine_and_the_own_names_are_allowed(host: str) -> None:
    assert HostNames.of("127.0.0.1", OWN, "").allow(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:6066",
        "worker-1.example.com.evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "other",
        "",
        ":6066",
        "[::1",
        "a b",
        "evil.example@127.0.0.1",
        "127.0.0.1:6066:1",
        "127.0.0.1:999999",
        "\udcff",
        "0x7f.1",
    ],
)
def test_other_names_are_refused(host: str) -> None:
    assert not HostNames.of("127.0.0.1", OWN, "").allow(host)


def test_names_without_a_dot_are_allowed_where_other_machines_reach_the_worker() -> None:
    assert HostNames.of("0.0.0.0", OWN, "").allow("worker-2:6066")
    assert not HostNames.of("0.0.0.0", OWN, "").allow("evil.example")
    assert not HostNames.of("::1", OWN, "").allow("worker-2:6066")


def test_further_names_and_domains_are_allowed() -> None:
    names = HostNames.of("127.0.0.1", OWN, "Pages.example.com, .svc.cluster.local")
    assert names.allow("pages.example.com:443")
    assert names.allow("worker.lines.svc.cluster.local:6066")
    assert not names.allow("example.com")
    assert not names.allow("svc.cluster.local")
    assert HostNames.of("127.0.0.1", OWN, "*").allow("evil.example")
