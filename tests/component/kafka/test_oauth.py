"""Tokens of an OAuth issuer: kept while they hold; what keeps a client from getting one is one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from metroline.agents.kafka.oauth import NoToken, OAuthClient
from tests.support.brokers import unavailable
from tests.support.issuer import CLIENT, SCOPE, SECRET, Issuer, running_issuer


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    """Run an issuer, one for this module."""
    if shutil.which("openssl") is None:
        unavailable("openssl is not installed; it signs tokens")
    with running_issuer(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture
def client(issuer: Issuer) -> OAuthClient:
    return OAuthClient(issuer.token_url, CLIENT, SECRET, SCOPE, issuer.certificate)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"client_secret": "guessed"}, r"refuses the client line-worker \(HTTP 401: invalid_client: unknown client or"),
        ({"scope": "everything"}, r"refuses the client line-worker \(HTTP 400: invalid_scope\)"),
        ({"ca_file": None}, r"^the certificate of the token endpoint https://127\.0\.0\.1:\d+/token does not hold \("),
    ],
)
def test_a_refusal_names_the_endpoint_and_the_reason(client: OAuthClient, wrong: dict[str, str], told: str) -> None:
    with pytest.raises(NoToken, match=told) as refused:
        replace(client, **wrong).fetch()  # type: ignore[arg-type]

    assert "guessed" not in str(refused.value)


def test_an_issuer_that_is_away_is_named(client: OAuthClient, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/token"

    with pytest.raises(NoToken, match=f"^the token endpoint {url} does not answer .*does the issuer run"):
        replace(client, token_url=url).fetch()


def test_an_answer_without_a_token_is_not_taken_for_one(issuer: Issuer) -> None:
    with pytest.raises(NoToken, match="without an access_token: is BROKER_OAUTH_TOKEN_URL"):
        OAuthClient(issuer.token_url, CLIENT, SECRET, SCOPE)._token_in(b"<html>")


def test_a_secret_is_not_shown(client: OAuthClient, tmp_path: Path) -> None:
    assert SECRET not in repr(client)


def test_a_secret_in_a_file_is_read_for_each_token(
    issuer: Issuer, client: OAuthClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    reading = replace(client, client_secret=SECRET, secret_file=file)
    reading.fetch()
    monkeypatch.setattr(issuer, "secret", "another")
    with pytest.raises(NoToken, match="refuses the client"):
        reading.fetch()

    file.write_text("another\n")
    assert reading.fetch()[0] == issuer.issued[-1]

    file.unlink()
    monkeypatch.setattr(issuer, "secret", SECRET)
    assert reading.fetch()[0] == issuer.issued[-1], "without the file, the secret of the start is tried"


def test_a_lifetime_that_the_issuer_does_not_tell_is_that_of_the_token(issuer: Issuer, client: OAuthClient) -> None:
    token = issuer.token()["access_token"]

    _, seconds = client._token_in(json.dumps({"access_token": token}).encode())
    _, unknown = client._token_in(b'{"access_token": "opaque"}')

    assert 20 < seconds <= 30
    assert unknown == 0
