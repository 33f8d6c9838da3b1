"""The worker that serves a page stands still, dies and comes back: the page says so, and names the other workers."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.brokers import Broker
from tests.support.browser import DELIVERED, window
from tests.support.shown_line import ShownLine, shown_line

pytestmark = pytest.mark.asyncio(loop_scope="session")

GONE = re.compile(
    r"^✕ This worker does not answer: the figures are out of date since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.$"
)
FRESH = re.compile(r"They are kept up to date|Some of them are out of date")
"""A page that hears of the line says the one or the other."""


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    async with window(browser) as context:
        yield context


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crew(
    browser: Browser, embedded_broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ShownLine]:
    """Run a line of this file's own: what happens to it may be seen on its pages for minutes."""
    async with shown_line(embedded_broker, tmp_path_factory.mktemp("crew")) as running:
        await running.start()
        yield running


async def opened(context: BrowserContext, line: ShownLine) -> Page:
    """Return the first page as the worker that started last serves it, once it has heard of all workers."""
    page = await context.new_page()
    await page.goto(line.depot.workers[-1].url)
    for worker in line.depot.workers:
        link = page.get_by_role("link", name=worker.url, exact=True)
        told = page.locator("#workers tr").filter(has=link).filter(has_text="signpost")
        await expect(told.filter(has_not_text="announced itself")).to_be_visible()
    await expect(page.locator("#freshness")).to_have_text(FRESH)
    return page


async def test_a_page_says_that_its_worker_stands_still_and_goes_on_with_it(
    context: BrowserContext, crew: ShownLine
) -> None:
    page = await opened(context, crew)
    frozen = crew.depot.workers[-1].child.pid
    verdict = page.locator("#verdict h2")
    os.kill(frozen, signal.SIGSTOP)
    try:
        await expect(verdict).to_have_text(GONE)
        await expect(page.locator("body")).to_have_attribute("data-stale", "")
        await expect(page.locator(".stops td[data-stale]").first).to_be_visible()
    finally:
        os.kill(frozen, signal.SIGCONT)
    await expect(verdict).not_to_have_text(GONE)
    await expect(page.locator(".others")).to_have_count(0)


async def test_a_page_whose_worker_dies_leads_to_another_and_comes_back_with_its_own(
    context: BrowserContext, crew: ShownLine
) -> None:
    page, left = await opened(context, crew), await opened(context, crew)
    verdict = page.locator("#verdict h2")
    shows = crew.depot.workers[-1]
    await crew.depot.kill(shows)
    await expect(verdict).to_have_text(GONE)
    other = page.locator(".others").get_by_role("link", name=crew.url, exact=True)
    await expect(other).to_have_count(1)
    await other.click()
    await expect(page).to_have_url(f"{crew.url}/")
    await expect(page.locator("#freshness")).to_have_text(FRESH)

    await crew.push(range(10))
    await crew.start(port=shows.port)
    await expect(left.locator("#verdict h2")).not_to_have_text(GONE)
    await expect(left.locator(".others")).to_have_count(0)
    await expect(left.locator(DELIVERED)).to_have_text(str(crew.delivered))
