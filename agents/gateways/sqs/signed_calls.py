"""Calls of SQS's JSON protocol, sent by the HTTP client of aiobotocore without botocore's models of the calls.

The models look up each field of each message: with them a call takes several times the CPU time (docs/sqs.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from metroline.agents.gateways.sqs.signature import Signer

HEADERS = {
    "content-type": "application/x-amz-json-1.0",
    "x-amzn-query-mode": "true",  # errors have the codes that SQS has always had
}

ERROR_STATUS = 300

USER_AGENT = {"user-agent": "metroline"}
"""Not signed, since proxies may change it."""


class CallRefused(Exception):
    """Raised if SQS answers a call with an error."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class SignedCalls:
    """Makes the calls to one address of SQS."""

    def __init__(self, http: Any, credentials: Any, address: str, region: str | None) -> None:
        """`http` and `credentials` are an `AIOHTTPSession` and `AioCredentials` of aiobotocore; None for none."""
        self._http = http
        self._credentials = credentials
        self._address = address
        self._signer = None if region is None else Signer(address, region)

    async def make(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Make a call, such as `delete_message_batch`, and return the answer.

        Raise `CallRefused`, or an error of botocore if there is no answer or nothing to sign with.
        """
        body = orjson.dumps(arguments)
        response = await self._http.send(await self._signed(name, body))
        content: bytes = await response.content
        if response.status_code >= ERROR_STATUS:
            raise _refusal(response.status_code, response.headers, content)
        return _decoded(content)

    async def _signed(self, name: str, body: bytes) -> Any:
        """Return a request with the headers of its signature; raise an error of botocore if it cannot be signed."""
        from botocore.awsrequest import AWSPreparedRequest  # an optional package
        from botocore.exceptions import NoCredentialsError, NoRegionError

        if self._credentials is None:
            raise NoCredentialsError
        if self._signer is None:
            raise NoRegionError
        credentials = await self._credentials.get_frozen_credentials()  # asks for new ones before they expire
        headers = {**HEADERS, "x-amz-target": f"AmazonSQS.{''.join(map(str.capitalize, name.split('_')))}"}
        signed = self._signer.signed(headers, body, credentials, datetime.now(UTC))
        return AWSPreparedRequest("POST", self._address, signed | USER_AGENT, body, stream_output=False)


def _refusal(status: int, headers: Mapping[str, str], content: bytes) -> CallRefused:
    """Return the error in an answer: `x-amzn-query-error` has the code by which it is known for longest."""
    try:
        found = _decoded(content)
    except CallRefused:
        found = {"message": content.decode("utf-8", "replace")[:200]}
    named = headers.get("x-amzn-query-error") or found.get("__type") or status
    code = str(named).rpartition("#")[2].partition(";")[0].partition(":")[0]  # ElasticMQ has the same in both places
    text = str(found.get("message", found.get("Message", "")))
    return CallRefused(code, " ".join(text.split()))  # some say in several lines what they have expected


def _decoded(content: bytes) -> dict[str, Any]:
    """Return an answer; raise `CallRefused` if it is not from SQS."""
    try:
        found = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError:
        try:
            found = json.loads(content)  # reads lone surrogates, which no queue of Amazon lets in
        except ValueError:
            found = None
    if not isinstance(found, dict):
        raise CallRefused("NotSqs", "the answer is not one of SQS: is the endpoint right?")
    return found
