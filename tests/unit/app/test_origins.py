"""Requests of other sites' pages are told from those of our own pages and of programs."""

from __future__ import annotations

import pytest

from metroline.app.web_server.origins import is_encrypted, is_from_elsewhere

HOST = {"Host": "worker-1:6066"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://worker-1:6066"},
        {"Origin": "http://WORKER-1:6066"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://line.example"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://line.example", "X-Forwarded-Host": "line.example"},
    ],
)
def test_programs_and_our_own_pages_come_from_here(headers: dict[str, str]) -> None:
    assert not is_from_elsewhere(HOST | headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://worker-1:6067"},
        {"Origin": "http://worker-1:6066.evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://worker-1:6066"},
        {"Sec-Fetch-Site": ""},
    ],
)
def test_pages_of_other_origins_come_from_elsewhere(headers: dict[str, str]) -> None:
    assert is_from_elsewhere(HOST | headers)


@pytest.mark.parametrize(
    ("headers", "is_so"),
    [
        ({}, False),
        ({"X-Forwarded-Proto": "https"}, True),
        ({"X-Forwarded-Proto": "http"}, False),
        ({"Forwarded": 'for=10.0.0.1; proto="HTTPS"'}, True),
        ({"Forwarded": "for=10.0.0.1;proto=http"}, False),
    ],
)
def test_a_proxy_says_whether_a_browser_reaches_it_encrypted(headers: dict[str, str], is_so: bool) -> None:
    assert is_encrypted(headers) is is_so
