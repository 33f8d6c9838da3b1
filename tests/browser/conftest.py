"""One browser and one line for all tests of a file, on one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, StorageState

from tests.support.brokers import Broker
from tests.support.browser import running_browser, window
from tests.support.shown_line import TOKEN, ShownLine, shown_line


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Run a browser for all tests of this process."""
    async with running_browser() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def line(
    browser: Browser, embedded_broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ShownLine]:
    """Run a line with records of every outcome. It comes after the browser: without one, it need not run."""
    async with shown_line(embedded_broker, tmp_path_factory.mktemp("shown")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def logged_in(browser: Browser, line: ShownLine) -> StorageState:
    """Log in by the form, and return what a browser keeps of it."""
    async with window(browser) as context:
        page = await context.new_page()
        await page.goto(f"{line.url}/login?next=/dead-letters/")
        await page.get_by_label("Your name").fill("Ada")
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_text("Logged in as Ada").wait_for()
        return await context.storage_state()
