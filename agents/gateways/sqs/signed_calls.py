"""Calls of SQS's JSON protocol, signed by botocore and sent by the HTTP client of aiobotocore.

botocore's models of the calls are left out: they look up each field of each message, and with them a call takes three
to four times the CPU time (docs/sqs.md has the figures).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson

SERVICE = "sqs"

CONTENT_TYPE = "application/x-amz-json-1.0"

ERROR_STATUS = 300


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
        self._address = address if address.partition("://")[2].count("/") else f"{address}/"
        self._region = region

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
        from botocore.auth import SigV4Auth  # an optional package
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import NoCredentialsError, NoRegionError

        if self._credentials is None:
            raise NoCredentialsError
        if self._region is None:
            raise NoRegionError
        headers = {
            "X-Amz-Target": f"AmazonSQS.{''.join(map(str.capitalize, name.split('_')))}",
            "Content-Type": CONTENT_TYPE,
            "User-Agent": "metroline",
            "X-Amzn-Query-Mode": "true",  # errors have the codes that SQS has always had
            "X-Amz-Content-SHA256": sha256(body).hexdigest(),  # otherwise it is prepared twice, to take the sum
        }
        request = AWSRequest("POST", self._address, headers, body)
        credentials = await self._credentials.get_frozen_credentials()  # asks for new ones before they expire
        SigV4Auth(credentials, SERVICE, self._region).add_auth(request)
        return request.prepare()


def _refusal(status: int, headers: Mapping[str, str], content: bytes) -> CallRefused:
    """Return the error in an answer: `x-amzn-query-error` has the code by which it is known for longest."""
    try:
        found = _decoded(content)
    except CallRefused:
        found = {"message": content.decode("utf-8", "replace").strip()[:200]}
    named = headers.get("x-amzn-query-error", "").partition(";")[0]
    code = named or str(found.get("__type", "")).rpartition("#")[2].partition(":")[0] or str(status)
    return CallRefused(code, str(found.get("message", found.get("Message", ""))))


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
