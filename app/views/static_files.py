"""Scripts and styles of the pages. Their names are known when a worker starts, and no other file can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from pathlib import PurePath
from types import MappingProxyType

from aiohttp.web import Application, HTTPNotFound, Request, Response
from msgspec import Struct

FOLDER = "static"

TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}
"""The content type of each kind of file. A file of another kind is not served."""


POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'"
}
"""A shared worker, such as the one that keeps the stream for all tabs, is bound by the policy of its own file."""


class StaticFile(Struct, frozen=True):
    """The content of a file, and the tag by which a browser asks whether it has it already."""

    content: bytes
    type: str
    tag: str


@cache
def static_files() -> Mapping[str, StaticFile]:
    """Return the files by name."""
    found = {}
    for file in files(__package__).joinpath(FOLDER).iterdir():
        kind = TYPES.get(PurePath(file.name).suffix)
        if kind is not None and file.is_file():
            content = file.read_bytes()
            found[file.name] = StaticFile(content, kind, f'"{sha256(content).hexdigest()[:32]}"')
    return MappingProxyType(found)


def add_static_files(web_app: Application) -> None:
    """Serve the files below `/static/`."""
    static_files()  # read now: no request waits for the disk
    web_app.router.add_get("/static/{name}", _answer)


async def _answer(request: Request) -> Response:
    file = static_files().get(request.match_info["name"])
    if file is None:
        raise HTTPNotFound
    headers = {"ETag": file.tag, "Cache-Control": "no-cache", **POLICY}  # it asks each time whether it is the same
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]
    if file.tag in known or known == ["*"]:
        return Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body=file.content, headers={**headers, "Content-Type": file.type})
