"""Scripts and styles: known names alone, with their types, and asked for again only when they have changed."""

from __future__ import annotations

import re

import pytest

from metroline.app.views.static_files import FOLDER, static_files
from tests.support.project import ROOT
from tests.support.web_worker import Start

FILES = sorted((ROOT / "app" / "views" / FOLDER).iterdir())
OURS = [file for file in FILES if file.name != "rules_editor.js"]
"""Without the editor, which is bundled from packages: tests/unit/test_editor_bundle.py."""

IMPORT = re.compile(r"""(?:from|import)\s+"\./([^"]+)"|new SharedWorker\("/static/([^"]+)\"""")
HOSTS = re.compile(r"https?://(?!www\.w3\.org/)")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
async def test_every_file_is_served_with_its_type(start: Start, file: object) -> None:
    name = getattr(file, "name", "")
    one = await start()
    response = await one.get(f"/static/{name}")
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert (response.status, response.content_type) == (200, kinds[name.rpartition(".")[2]])
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-cache"
    policy = response.headers["Content-Security-Policy"]
    assert all(rule in policy for rule in ("default-src 'none'", "script-src 'self'", "connect-src 'self'"))
    assert await response.read() == (ROOT / "app" / "views" / FOLDER / name).read_bytes()
    again = await one.get(f"/static/{name}", {"If-None-Match": response.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == response.headers["ETag"]
    changed = await one.get(f"/static/{name}", {"If-None-Match": '"another"'})
    assert changed.status == 200


@pytest.mark.parametrize(
    "path",
    ["/static/", "/static/nothing.js", "/static/../page.css", "/static/..%2fpage.css", "/static/%2e%2e/view.py"],
)
async def test_nothing_else_is(start: Start, path: str) -> None:
    assert (await (await start()).get(path)).status == 404


async def test_files_are_only_read(start: Start) -> None:
    one = await start()
    assert (await one.get("/static/live_source.js", method="POST")).status == 405


@pytest.mark.parametrize("file", OURS, ids=lambda file: file.name)
def test_a_file_names_only_files_that_are_served_and_no_other_host(file: object) -> None:
    text = static_files()[getattr(file, "name", "")].content.decode()
    named = {name for found in IMPORT.findall(text) for name in found if name}
    assert named <= set(static_files())
    assert not HOSTS.search(text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
