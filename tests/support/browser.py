"""Debian's Chromium, driven by Playwright, and what is looked at on every page: rules of axe-core, and troubles."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from tests.support.brokers import unavailable

ANSWER_MS = 60_000
"""Time for which a page is waited for, in milliseconds. A test that passes does not wait for it."""

WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
"""The tags of axe-core's rules for WCAG 2, levels A and AA."""

DELIVERED = "b[data-figure=delivered]"
"""The number of records that the line has delivered, on its first page."""

RUN_AXE = """async (options) => (await axe.run(document, options)).violations.map((one) =>
  `${one.id}: ${one.help}\\n  ${one.nodes.map((node) => `${node.html}: ${node.failureSummary}`).join("\\n  ")}`)"""

HEIGHTS_OF_FIGURES = """() => [...document.querySelectorAll("svg.linemap text.number")].flatMap((text) => {
  const matrix = text.checkVisibility() && text.getScreenCTM();
  return matrix ? [parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b)] : [];
})"""

BOXES_OF_NAMES = """() => [...document.querySelectorAll("svg.linemap a text:not(.number)")].flatMap((text) => {
  const matrix = text.checkVisibility() && text.getScreenCTM();
  const box = text.getBoundingClientRect();
  const height = matrix && parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b);
  return matrix ? [[text.textContent, height, box.left, box.top, box.right, box.bottom]] : [];
})"""

PLACES_OF_STATIONS = """() => [...document.querySelectorAll("svg.linemap rect.station")].map((station) =>
  ["x", "y", "width", "height"].map((name) => station.getAttribute(name)).join(" "))"""


def chromium() -> str:
    """Return the path of Debian's Chromium. Without it, skip the test, or fail it under CI=true."""
    return shutil.which("chromium") or unavailable("Chromium (chromium) is not installed; it shows the pages")


@dataclass
class Troubles:
    """All that goes wrong in a browser, on all of its pages: errors, and requests to hosts other than the workers."""

    hosts: Collection[str]
    """Each host with its port."""
    found: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.found.append(f"error: {error.error}"))
        context.on("dialog", lambda dialog: self.found.append(f"dialog: {dialog.message}"))
        context.on("request", lambda request: self._ask(request.url))

    def beside(self, status: int) -> list[str]:
        """Return what went wrong but for an answer with this status, which browsers report as an error."""
        return [one for one in self.found if not status or f"responded with a status of {status} " not in one]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):  # whatever the policy forbids is an error
            self.found.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def _ask(self, url: str) -> None:
        asked = urlsplit(url)
        if asked.scheme != "data" and asked.netloc not in self.hosts:
            self.found.append(f"request: {url}")


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Run a browser without windows."""
    path = chromium()
    expect.set_options(timeout=ANSWER_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, timeout=ANSWER_MS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def window(browser: Browser, troubles: Troubles | None = None, **options: Any) -> AsyncIterator[BrowserContext]:
    """Open a window, by default on a wide screen, with cookies of its own, and note its troubles."""
    async with await browser.new_context(**{"viewport": {"width": 1400, "height": 900}} | options) as context:
        context.set_default_timeout(ANSWER_MS)
        if troubles is not None:
            troubles.watch(context)
        yield context


@dataclass(frozen=True)
class NameBox:
    """The name of a stop on a map, the height of its letters, and where it stands, in pixels of the page."""

    name: str
    height: float
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: NameBox) -> bool:
        """Return whether two names stand on each other."""
        is_beside = self.right <= other.left or other.right <= self.left
        return not (is_beside or self.bottom <= other.top or other.bottom <= self.top)


async def violations(page: Page, *rules: str) -> list[str]:
    """Return what axe-core finds against these rules; by default, against those for WCAG 2, levels A and AA."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(_axe())
    only: Mapping[str, Any] = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": WCAG}
    found: list[str] = await page.evaluate(RUN_AXE, {"runOnly": only, "resultTypes": ["violations"]})
    return found


@cache
def _axe() -> str:
    """Return the script of axe-core, which a Python package brings along."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


async def too_wide(page: Page) -> int:
    """Return by how many pixels a page must be scrolled sideways to be seen."""
    return int(await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


async def name_boxes(page: Page) -> list[NameBox]:
    """Return the names of the stops on the map that is shown."""
    return [NameBox(*one) for one in await page.evaluate(BOXES_OF_NAMES)]


async def figure_heights(page: Page) -> list[float]:
    """Return the heights of the figures on the map that is shown, in pixels of the page."""
    return list(await page.evaluate(HEIGHTS_OF_FIGURES))


async def station_places(page: Page) -> list[str]:
    """Return where the stations of the maps are drawn."""
    return list(await page.evaluate(PLACES_OF_STATIONS))
