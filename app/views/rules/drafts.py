"""A table that somebody is editing, with all that stands beside it in the form, as a request brings it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any, cast

import orjson
from aiohttp.web import Request as AiohttpRequest
from faust import web
from msgspec import Struct

from metroline.agents.tables.publication import MAX_REASON
from metroline.app.operations.exact_json import exact_object
from metroline.app.views.access.forms import FORM_TOKEN, FORM_TYPE, BadForm, form_of
from metroline.routing.errors import UsageError

MAX_TABLE_CHARACTERS = 256 * 1024
"""Maximum length of a table that is looked at. Commands take longer ones."""

MAX_RECORD_BYTES = 256 * 1024
"""Maximum length of a record that is tried. With a table, and with what a form escapes, it fits into the body that the
gate lets in."""

QUESTION = ("table", "record")
"""The fields of a question about a table."""

BESIDE = ("replaces", "reason", "previewed", "ask", FORM_TOKEN)
"""Further fields of the form."""


class Draft(Struct, frozen=True):
    """A table and a record as they stand in the form."""

    table: str
    record: str
    replaces: int = 0
    """The version that the table was made from."""
    reason: str = ""
    previewed: str = ""
    """The mark of the table whose preview stands on the page; empty without one."""
    ask: str = ""
    """The question: `preview`, `record`, or empty for a record if there is one."""

    @property
    def is_about_record(self) -> bool:
        return self.ask != "preview" and (self.ask == "record" or bool(self.record.strip()))

    @property
    def mark(self) -> str:
        """The mark of this table as a change of the version that it was made from."""
        return sha256(f"{self.replaces}\n{self.table}".encode(errors="replace")).hexdigest()[:32]


def is_form(request: web.Request) -> bool:
    """Return whether a browser sent a form."""
    return cast(AiohttpRequest, request).content_type == FORM_TYPE


async def fields_of(request: web.Request, names: Collection[str]) -> Mapping[str, Any]:
    """Return the fields in the body of a request, which is a form or JSON.

    Raise `UsageError` for another body, and for a field that is not among `names`; a form may have those of the page,
    too.
    """
    asked = cast(AiohttpRequest, request)
    if asked.content_type == "application/json":
        given: Mapping[str, Any] = exact_object(await asked.read())  # the gate has it already
        allowed = {*names}
    elif is_form(request):
        try:
            given = await form_of(request)
        except BadForm as error:
            raise UsageError(str(error)) from error
        allowed = {*names, *QUESTION, *BESIDE}
    else:
        raise UsageError(f"the body is {asked.content_type}, not a form or JSON")
    unknown = given.keys() - allowed
    if unknown:
        raise UsageError(f"unknown field {min(unknown)!r}; there are {' and '.join(names)}")
    return given


def draft_of(given: Mapping[str, Any], current: str, version: int) -> Draft:
    """Return the draft in the fields of a request; without a table, it is the current one. Raise `UsageError`."""
    table, record = given.get("table", current), given.get("record", "")
    if isinstance(record, dict):
        record = orjson.dumps(record).decode()
    if not isinstance(table, str) or not isinstance(record, str):
        raise UsageError("table is a text, and record a JSON object or its text")
    return Draft(
        table.replace("\r\n", "\n"),
        record,
        version_in(given, version),
        reason_in(given),
        given.get("previewed", ""),
        given.get("ask", ""),
    )


def version_in(given: Mapping[str, Any], version: int) -> int:
    """Return the version that a table was made from; by default the current one. Raise `UsageError`."""
    told = given.get("replaces", version)
    if isinstance(told, str) and told.isascii() and told.isdigit() and len(told) < 19:
        told = int(told)
    if not isinstance(told, int) or isinstance(told, bool) or told < 0:
        raise UsageError("replaces is the number of the version that the table was made from")
    return told


def reason_in(given: Mapping[str, Any]) -> str:
    """Return the reason for a new version; empty if none is given. Raise `UsageError`."""
    reason = given.get("reason", "")
    if not isinstance(reason, str):
        raise UsageError("reason is a text")
    return reason.strip()


def check_size(draft: Draft) -> None:
    """Raise `UsageError` if a draft is too long to be looked at."""
    if len(draft.table) > MAX_TABLE_CHARACTERS:
        raise UsageError(f"the table has {len(draft.table):,} characters, the maximum here is {MAX_TABLE_CHARACTERS:,}")
    if len(draft.record.encode(errors="replace")) > MAX_RECORD_BYTES:
        raise UsageError(f"the record is longer than {MAX_RECORD_BYTES:,} bytes")
    try:
        (draft.table + draft.record + draft.reason).encode()
    except UnicodeEncodeError as error:
        raise UsageError("the text has a character that is no Unicode: a surrogate without the other one") from error


def check_reason(reason: str) -> None:
    """Raise `UsageError` unless a reason is given that can be kept whole."""
    if not reason:
        raise UsageError("give the reason: it is kept with the version")
    if len(reason) > MAX_REASON:
        raise UsageError(f"the reason has {len(reason):,} characters, the maximum is {MAX_REASON:,}")
