"""Signatures of calls to SQS are those that botocore makes, with a key that is derived once a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials

from metroline.agents.gateways.sqs.signature import Signer

HEADERS = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.ReceiveMessage"}
NOW = datetime(2026, 6, 13, 23, 59, 59, tzinfo=UTC)


def credentials(secret: str = "s3cret/+=", token: str | None = None) -> ReadOnlyCredentials:
    return Credentials("AKIDEXAMPLE", secret, token).get_frozen_credentials()


def by_botocore(
    monkeypatch: pytest.MonkeyPatch, address: str, body: bytes, who: ReadOnlyCredentials, now: datetime
) -> str:
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: now)
    request = AWSRequest("POST", address, HEADERS, body)
    SigV4Auth(who, "sqs", "eu-central-1").add_auth(request)
    return str(request.headers["Authorization"])


@pytest.mark.parametrize(
    "address",
    [
        "https://sqs.eu-central-1.amazonaws.com",
        "https://sqs.eu-central-1.amazonaws.com/",
        "http://127.0.0.1:9324/",
        "https://queue.example:443/a b/~x",
        "http://[::1]:9324/",
    ],
)
@pytest.mark.parametrize("token", [None, "for/an+hour=="])
def test_a_signature_is_the_one_that_botocore_makes(
    monkeypatch: pytest.MonkeyPatch, address: str, token: str | None
) -> None:
    signer, who = Signer(address, "eu-central-1"), credentials(token=token)

    found = signer.signed(HEADERS, b'{"QueueUrl":"q"}', who, NOW)

    assert found["authorization"] == by_botocore(monkeypatch, address, b'{"QueueUrl":"q"}', who, NOW)
    assert found.get("x-amz-security-token") == token


def test_another_day_or_other_credentials_have_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://sqs.eu-central-1.amazonaws.com/"
    signer = Signer(address, "eu-central-1")

    for who, now in (
        (credentials(), NOW),
        (credentials(), NOW + timedelta(seconds=1)),
        (credentials("renewed", "token"), NOW + timedelta(seconds=1)),
    ):
        found = signer.signed(HEADERS, b"", who, now)["authorization"]
        assert found == by_botocore(monkeypatch, address, b"", who, now)
