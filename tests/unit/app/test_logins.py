"""Logins: what stands for the token in a browser, and between workers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from metroline.app.web_server.logins import LOGIN_SECONDS, PASS_SECONDS, Login, Logins, logins_of

NOW = 1_700_000_000.5
LOGINS = Logins("open sesame", "orders")
COOKIE = LOGINS.issue("Ada Löve <b>", NOW)
URL = "http://worker-1:6066"


def test_a_login_holds_for_a_working_day_with_the_name_it_was_made_for() -> None:
    login = LOGINS.login(COOKIE, NOW + LOGIN_SECONDS - 1)
    assert isinstance(login, Login)
    assert (login.name, login.expires) == ("Ada Löve <b>", int(NOW) + LOGIN_SECONDS)
    assert LOGINS.login(COOKIE, NOW + LOGIN_SECONDS) is None


def test_every_worker_of_the_line_with_the_token_accepts_a_login_and_no_other() -> None:
    assert Logins("open sesame", "orders").login(COOKIE, NOW) == LOGINS.login(COOKIE, NOW)
    assert Logins("open barley", "orders").login(COOKIE, NOW) is None
    assert Logins("open sesame", "invoices").login(COOKIE, NOW) is None


def test_no_value_holds_the_token() -> None:
    values = [COOKIE, LOGINS.cookie, LOGINS.worker_pass(URL, NOW)]
    assert not [value for value in values if "sesame" in value or "b3BlbiBzZXNhbWU" in value]


def test_cookies_of_two_lines_on_one_host_have_different_names() -> None:
    assert LOGINS.cookie != Logins("open sesame", "invoices").cookie


@given(st.integers(0, len(COOKIE) - 1), st.characters())
def test_a_login_that_was_changed_anywhere_is_none(place: int, letter: str) -> None:
    changed = COOKIE[:place] + letter + COOKIE[place + 1 :]
    assert changed == COOKIE or LOGINS.login(changed, NOW) is None


@given(st.text(), st.text())
def test_made_up_values_are_refused_whatever_they_hold(one: str, other: str) -> None:
    for value in (one, f"{one}.{other}", f"{one}.{other}.{one}.{other}"):
        assert LOGINS.login(value, NOW) is None
        assert not LOGINS.is_worker_pass(value, URL, NOW)
        assert not LOGINS.is_token(value)


def test_each_login_has_forms_of_its_own() -> None:
    one, other = LOGINS.login(COOKIE, NOW), LOGINS.login(LOGINS.issue("Ada Löve <b>", NOW), NOW)
    assert one is not None
    assert other is not None
    assert one.form_token != other.form_token


def test_a_pass_is_for_one_worker_and_for_minutes() -> None:
    given_pass = LOGINS.worker_pass(URL, NOW)
    assert LOGINS.is_worker_pass(given_pass, f"{URL}/", NOW + PASS_SECONDS - 1)
    assert not LOGINS.is_worker_pass(given_pass, "http://worker-2:6066", NOW)
    assert not LOGINS.is_worker_pass(given_pass, URL, NOW + PASS_SECONDS)
    assert LOGINS.login(given_pass, NOW) is None


def test_the_key_is_derived_once_and_there_is_none_without_a_token() -> None:
    assert logins_of("open sesame", "orders") is logins_of("open sesame", "orders")
    assert logins_of(None, "orders") is None


def test_a_token_of_any_bytes_is_compared() -> None:
    odd = b"\xff\xfe secret".decode(errors="surrogateescape")
    assert Logins(odd, "orders").is_token(odd)
