"""Takes pictures of the pages of an example line that runs: light, dark, and on a phone. `make screenshots` runs it.

Without the address of a line, it runs one of its own, with the embedded broker, until it has the pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from metroline.app.local.ports import HOST, free_port

ROOT = Path(__file__).parents[1]

LINE = ROOT / "examples" / "webhooks"
"""Some of its records are dead letters."""

FOLDER = ROOT / "build" / "screenshots"

TOKEN = "a token for the pictures"

PATHS = {
    "line": "/",
    "journeys": "/journeys/",
    "journey": "/journeys/{journey}",
    "rules": "/rules/",
    "dead-letters": "/dead-letters/",
    "dead-letter-group": "/dead-letters/?group={group}",
    "dead-letter": "/dead-letters/?id={letter}",
    "outcomes": "/table/outcomes/",
    "login": "/login",
}
"""The pages, by the names of their pictures. What stands in braces is looked up; without it, a page is left out."""

FORMS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1400, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1400, "height": 900}},
    "phone": {
        "color_scheme": "light",
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
    },
}

ENOUGH_RECORDS, ENOUGH_POINTS = 500, 45
"""Records that have their outcome, and seconds on the chart, before the pictures are taken."""

START_SECONDS = 600.0


class NoPictures(Exception):
    """Raised when the line that is to be shown does not run."""


def main(words: Sequence[str]) -> None:
    """Take the pictures, and print their folder."""
    parser = argparse.ArgumentParser(description=__doc__, prog="make screenshots")
    parser.add_argument(
        "--url",
        help="address of a worker that runs, whose METROLINE_TOKEN is set here, too; by default a line is started",
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="by default build/screenshots")
    asked = parser.parse_args(words)
    token = os.environ.get("METROLINE_TOKEN", TOKEN)
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("error: Chromium is not installed (Debian: chromium)")
    asked.folder.mkdir(parents=True, exist_ok=True)
    try:
        with running_line(asked.url, token) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium)
            ids = ids_of(url, token)
            found = {name: path.format(**ids) for name, path in PATHS.items() if fits(path, ids)}
            for name, form in FORMS.items():
                shoot(browser, url, token, found, form, asked.folder, name)
            browser.close()
    except NoPictures as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: the line at {asked.url} could not be read: {error}")
    print(f"wrote {len(found) * len(FORMS)} pictures to {asked.folder}/")


def shoot(
    browser: Browser, url: str, token: str, paths: dict[str, str], form: dict[str, Any], folder: Path, suffix: str
) -> None:
    """Take a picture of each page in one form."""
    with browser.new_context(**form) as context:
        page = context.new_page()
        for name, path in paths.items():
            if name == "login":
                context.clear_cookies()
            elif not context.cookies():
                log_in(context, url, token)
            page.goto(url + path)
            if name == "line":
                page.get_by_text("They are kept up to date").or_(page.get_by_text("are out of date")).first.wait_for()
            page.screenshot(path=folder / f"{name}-{suffix}.png", full_page=name == "line")


def log_in(context: BrowserContext, url: str, token: str) -> None:
    """Log in, so that pages show what can be done; a line without a token shows that nothing can."""
    page = context.new_page()
    page.goto(f"{url}/login")
    if page.get_by_label("Token").count():
        page.get_by_label("Your name").fill("Ada")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Log in").click()
    page.close()


def fits(path: str, ids: dict[str, str]) -> bool:
    """Return whether everything that a path names is there."""
    return all(f"{{{name}}}" not in path or name in ids for name in ("journey", "group", "letter"))


def ids_of(url: str, token: str) -> dict[str, str]:
    """Return the ids of a journey, of a group of dead letters, and of one of these, where there are any."""
    journeys, groups = asked_of(url, "/journeys/", token)["journeys"], asked_of(url, "/dead-letters/", token)
    found = {"journey": journeys[0]["id"]} if journeys else {}
    return found | ({"group": groups[0]["group"], "letter": groups[0]["example"]} if groups else {})


def asked_of(url: str, path: str, token: str) -> Any:
    """Return the JSON at a path."""
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30.0) as answer:
        return json.load(answer)


@contextmanager
def running_line(url: str | None, token: str) -> Iterator[str]:
    """Yield the address of a line: the one that is named or, by default, one that runs until the pictures are taken."""
    if url is not None:
        yield url.rstrip("/")
        return
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "metroline",
        "up",
        "--line",
        str(LINE),
        "--rate",
        "40",
        "--workers",
        "2",
        "--port",
        str(port),
    ]
    with TemporaryFile() as output:
        line = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "METROLINE_TOKEN": token}
        )
        try:
            wait_until_shown(line, f"http://{HOST}:{port}", token)
            yield f"http://{HOST}:{port}"
        finally:
            line.send_signal(signal.SIGINT)
            line.wait()


def wait_until_shown(line: subprocess.Popen[bytes], url: str, token: str) -> None:
    """Return when a line has something to show; raise `NoPictures` if it ends, or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if line.poll() is not None:
            raise NoPictures("the line ended: see `metroline up`")
        try:
            state = asked_of(url, "/api/live", token)
        except OSError:
            state = {"sums": {}, "points": []}
        done = sum(state["sums"].get(ending, 0) for ending in ("delivered", "dropped", "dead"))
        if done >= ENOUGH_RECORDS and len(state["points"]) >= ENOUGH_POINTS:
            return
        time.sleep(0.5)
    raise NoPictures(f"the line has shown too little after {START_SECONDS:g} s")


if __name__ == "__main__":
    main(sys.argv[1:])
