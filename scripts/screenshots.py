"""Takes the pictures of the documentation: the pages of a line that runs. `make screenshots` runs it.

Without the address of a line, it runs the one in `scripts/shop` with the embedded broker, and does what there is to
see: comparisons, a change of the rules that is taken back, and a replay of dead letters.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from urllib.error import HTTPError

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from metroline.app.local.ports import HOST, free_port

ROOT = Path(__file__).parents[1]

LINE = ROOT / "scripts" / "shop"

FOLDER = ROOT / "docs" / "img"

TOKEN = "a token for the pictures"

HEIGHT, LONGEST = 900, 1_450
"""Height of the screen, in pixels, and that at which a picture ends."""

QUALITIES = (82, 70, 55, 40)
"""Qualities of WebP, of which the first that makes a picture small enough is taken."""

MOST_BYTES = 120_000
"""Size of a picture: the repository and the site are to stay small."""

FORMS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "is_mobile": True},
}

CHANGE = ("total >= 500.0", "total >= 200.0")
"""The condition of the rules that is changed, as it is and as it becomes."""

RECORDS, RATE, POINTS = 2_000, 40, 90
"""Records that have their outcome, records a second, and seconds on the chart, before the pictures are taken."""

START_SECONDS, COMPARISON_SECONDS, PAGE_SECONDS, BUSY_SECONDS = 900.0, 900.0, 180.0, 60.0


def wait_for_editor(page: Page) -> None:
    page.locator("#rules-form[data-ready]").wait_for()


def preview(page: Page) -> None:
    """Change a condition in the table, and ask what that would change."""
    wait_for_editor(page)
    table = page.locator("#table").input_value()
    page.locator(".cm-content, #table:not([hidden])").fill(table.replace(*CHANGE))
    page.click("text=Preview the changes")
    page.get_by_text("Load of the stops").wait_for()


def wait_for_figures(page: Page) -> None:
    """Wait until the page hears of the line, and its map has figures."""
    page.get_by_text("They are kept up to date").or_(page.get_by_text("are out of date")).first.wait_for()
    page.get_by_text(" wait · ").filter(visible=True).first.wait_for()


def log_out(page: Page) -> None:
    page.context.clear_cookies()
    page.reload()


@dataclass(frozen=True)
class Picture:
    """A page, and how it gets to look as it is shown."""

    path: str
    """Its address. A name in braces is looked up; if there is none, the page is left out."""
    forms: tuple[str, ...] = ("light",)
    act: Callable[[Page], None] | None = None
    width: int = 1_400
    """Width of the screen, in pixels, but for the phone's."""


PICTURES = {
    "line": Picture("/", ("light", "dark", "phone"), wait_for_figures, 1_800),  # the whole map fits
    "journeys": Picture("/journeys/"),
    "journey": Picture("/journeys/{journey}", ("light", "dark")),
    "rules": Picture("/rules/", ("light",), wait_for_editor),
    "rules-preview": Picture("/rules/", ("light",), preview),
    "dead-letters": Picture("/dead-letters/"),
    "dead-letter": Picture("/dead-letters/?id={letter}"),
    "replay-job": Picture("/dead-letters/jobs/?job={job}"),
    "comparisons": Picture("/compare/"),
    "journal": Picture("/journal/"),
    "outcomes": Picture("/table/outcomes/"),
    "tables": Picture("/table/"),
    "traffic": Picture("/traffic/"),
    "login": Picture("/login", ("light",), log_out),
}
"""The pictures, by their names: each is in the file NAME-FORM.webp."""


def file_names() -> Iterator[str]:
    """Yield the names of the files of all pictures."""
    for name, picture in PICTURES.items():
        yield from (f"{name}-{form}.webp" for form in picture.forms)


class NoPictures(Exception):
    """Raised when the line that is to be shown does not run, or not as it should."""


@dataclass(frozen=True)
class Shown:
    """A line whose pages are shown."""

    url: str
    token: str

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        return self._answer(urllib.request.Request(self.url + path, headers=self._headers))

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        """Return the answer to a request to write."""
        return self._answer(urllib.request.Request(self.url + path, json.dumps(body).encode(), self._headers))

    @property
    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Metroline-User": "Ada",
        }

    def _answer(self, request: urllib.request.Request) -> Any:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60.0) as answer:
                    return json.load(answer)
            except HTTPError as error:
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                    raise
                time.sleep(1.0)


def main(words: Sequence[str]) -> None:
    """Take the pictures, and print their folder."""
    parser = argparse.ArgumentParser(description=__doc__, prog="make screenshots")
    parser.add_argument(
        "--url",
        help="address of a worker that runs, whose METROLINE_TOKEN is set here, too; by default a line is started",
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="by default docs/img")
    asked = parser.parse_args(words)
    token = os.environ.get("METROLINE_TOKEN", TOKEN)
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("error: Chromium is not installed (Debian: chromium)")
    asked.folder.mkdir(parents=True, exist_ok=True)
    try:
        with shown_line(asked.url, token) as line, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium)
            ids = ids_of(line)
            written = [shoot(browser, line, ids, form, asked.folder) for form in FORMS]
            browser.close()
    except NoPictures as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: the line could not be read: {error}")
    print(f"wrote {sum(written)} pictures to {asked.folder}/")


def shoot(browser: Browser, line: Shown, ids: Mapping[str, str], form: str, folder: Path) -> int:
    """Take the pictures that are wanted in a form, and return their number."""
    shot = 0
    with browser.new_context(**FORMS[form]) as context:
        context.set_default_timeout(1_000 * PAGE_SECONDS)
        log_in(context, line)
        for name, picture in PICTURES.items():
            if form not in picture.forms or not is_complete(picture.path, ids):
                continue
            page = context.new_page()
            if form != "phone":
                page.set_viewport_size({"width": picture.width, "height": HEIGHT})
            page.goto(line.url + picture.path.format(**ids))
            if picture.act is not None:
                picture.act(page)
            take(page, folder / f"{name}-{form}.webp")
            page.close()
            shot += 1
    return shot


def take(page: Page, file: Path) -> None:
    """Write the picture of a page from its top, as WebP, which Playwright itself does not write."""
    size: dict[str, float] = page.evaluate(
        "() => ({width: document.documentElement.clientWidth, height: document.documentElement.scrollHeight})"
    )
    clip = {"x": 0, "y": 0, "scale": 1, "width": size["width"], "height": min(LONGEST, size["height"])}
    chrome = page.context.new_cdp_session(page)
    for quality in QUALITIES:
        options = {"format": "webp", "quality": quality, "clip": clip, "captureBeyondViewport": True}
        picture = base64.b64decode(chrome.send("Page.captureScreenshot", options)["data"])
        if len(picture) <= MOST_BYTES:
            break
    file.write_bytes(picture)


def log_in(context: BrowserContext, line: Shown) -> None:
    """Log in, so that pages show what can be done; a line without a token shows that nothing can."""
    page = context.new_page()
    page.goto(f"{line.url}/login")
    if page.get_by_label("Token").count():
        page.get_by_label("Your name").fill("Ada")
        page.get_by_label("Token").fill(line.token)
        page.get_by_role("button", name="Log in").click()
    page.close()


def is_complete(path: str, ids: Mapping[str, str]) -> bool:
    """Return whether everything that a path names is there."""
    return all(f"{{{name}}}" not in path or name in ids for name in ("journey", "letter", "job"))


def ids_of(line: Shown) -> dict[str, str]:
    """Return the ids of a journey, a dead letter and a replay job, where there are any."""
    eventful = "?where=journey.replans+%3E+0+%26%26+journey.failed_attempts+%3E+0"
    journeys = line.get(f"/journeys/{eventful}")["journeys"] or line.get("/journeys/")["journeys"]
    groups, jobs = line.get("/dead-letters/"), line.get("/dead-letters/jobs/")
    found = {"journey": journeys[0]["id"]} if journeys else {}
    found |= {"letter": groups[0]["example"]} if groups else {}
    return found | ({"job": jobs[0]["job"]} if jobs else {})


@contextmanager
def shown_line(url: str | None, token: str) -> Iterator[Shown]:
    """Yield a line: the one at an address or, by default, one of our own, that runs until the pictures are taken."""
    if url is not None:
        yield Shown(url.rstrip("/"), token)
        return
    port = free_port()
    command = [sys.executable, "-m", "metroline", "up", "--line", str(LINE), "--rate", str(RATE), "--port", str(port)]
    variables = {**os.environ, "METROLINE_TOKEN": token, "ROUTING_STRATEGY": "map_maker"}
    with TemporaryFile() as output:
        running = subprocess.Popen(
            [*command, "--workers", "2"], stdout=output, stderr=subprocess.STDOUT, env=variables, cwd=ROOT
        )
        line = Shown(f"http://{HOST}:{port}", token)
        try:
            wait(lambda: has_ended(line, running, 100), START_SECONDS)
            do_what_is_seen(line)
            wait(lambda: has_ended(line, running, RECORDS), START_SECONDS)
            yield line
        finally:
            running.terminate()
            running.wait()


def do_what_is_seen(line: Shown) -> None:
    """Compare the strategies twice, change the rules and change them back, and begin to replay dead letters."""
    for order in ({"records": 300}, {"records": 500, "strategies": ["map_maker", "signpost"], "chaining": True}):
        line.post("/compare/start/", {**order, "services_run_again": True})
        wait(lambda: all(run["state"] != "running" for run in line.get("/compare/")), COMPARISON_SECONDS)
    rules = line.get("/rules/")
    changed = {"table": rules["text"].replace(*CHANGE), "replaces": rules["version"]}
    line.post("/rules/publish/", {**changed, "reason": "more orders are reviewed before the holidays"})
    time.sleep(20)  # so that the two changes are not one mark on the chart
    line.post(f"/rules/{rules['version']}/rollback/", {"reason": "the reviewers cannot keep up"})
    [group, *_] = line.get("/dead-letters/")
    slowly = {"ramp": [1, 10, 100], "rate": 0.5, "stop_at": 1.0}
    line.post("/dead-letters/jobs/start/", {"group": group["group"], "reason": "the tariffs are there now", **slowly})


def has_ended(line: Shown, running: subprocess.Popen[bytes], count: int) -> bool:
    """Return whether so many records of a line have their outcome; raise `NoPictures` if the line has ended."""
    if running.poll() is not None:
        raise NoPictures("the line ended: see `metroline up`")
    try:
        state = line.get("/api/live")
    except OSError:
        return False
    done = sum(state["sums"].get(ending) or 0 for ending in ("delivered", "dropped", "dead"))
    return bool(done >= count and len(state["points"]) >= min(POINTS, count))


def wait(is_so: Callable[[], bool], seconds: float) -> None:
    """Return when something is so; raise `NoPictures` if it takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise NoPictures(f"the line has shown too little after {seconds:g} s")
        time.sleep(0.5)


if __name__ == "__main__":
    main(sys.argv[1:])
