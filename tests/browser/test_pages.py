"""Every page in a browser: readable for everybody, in light and dark, on wide and narrow screens, and without errors.

A new page is one more row of `PAGES`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser, Page, StorageState, expect

from tests.support.browser import DELIVERED, Troubles, too_wide, violations, window
from tests.support.depot import numbered
from tests.support.shown_line import TOKEN, ShownLine

pytestmark = pytest.mark.asyncio(loop_scope="session")

WIDTHS = (1400, 700, 390, 320)
"""Widths in pixels: a screen, the same at 200 %, a phone, and a screen of 1,280 at 400 %, the narrowest last."""

LOOKED_AT = (1400, 390)
"""Widths at which axe-core looks at a page."""


async def preview(page: Page) -> None:
    """Ask what a table would change."""
    await page.locator("#rules-form[data-ready]").wait_for()
    table = await page.locator("#table").input_value()
    await page.locator(".cm-content, #table:not([hidden])").fill(table.replace('drop = "not kept"', 'to = "shelf"'))
    await page.click("text=Preview the changes")


async def mistyped(page: Page) -> None:
    """Type a table that is wrong, and wait until the editor says where."""
    await page.locator("#rules-form[data-ready]").wait_for()
    table = await page.locator("#table").input_value()
    await page.locator(".cm-content, #table:not([hidden])").fill(table.replace('to = "shelf"', 'to = "shelfs"'))
    await page.locator(".cm-lint-marker-error").first.wait_for()


async def dry_run(page: Page) -> None:
    """Ask where a dead letter would go."""
    await page.click("text=Only show where it would go")


async def wrong_token(page: Page) -> None:
    """Try to log in with a token that is not the right one."""
    await page.fill("[name=name]", "a guest")
    await page.fill("[name=token]", "a guess")
    await page.click("text=Log in >> nth=0")


@dataclass(frozen=True)
class Shown:
    """A page and how a browser gets there."""

    path: str
    """With the names of `ShownLine.ids` in braces."""
    text: str
    """A text that the page shows."""
    act: Callable[[Page], Awaitable[None]] | None = None
    """An act on the page that has the path, which leads to the one that is looked at."""
    is_logged_in: bool = True
    refused: int = 0
    """The status of the answer if it is an error, which browsers report."""

    @property
    def name(self) -> str:
        return f"{self.path} {self.act.__name__}" if self.act else self.path


PAGES = (
    Shown("/", "Do the sums add up?"),
    Shown("/journeys/", "cannot be weighed"),
    Shown("/journeys/?where=n+%3D%3D", "Journeys", refused=400),
    Shown("/journeys/{journey}", "service_error"),
    Shown("/journeys/source-0-99999", "Journey source-0-99999", refused=404),
    Shown("/rules/", "Change the table"),
    Shown("/rules/", "Decided differently", preview),
    Shown("/rules/1/", "The first version"),
    Shown("/rules/1/rollback/", "Preview it first"),
    Shown("/journal/", "Journal"),
    Shown("/compare/", "beside each other"),
    Shown("/compare/{run}/", "conductor"),
    Shown("/dead-letters/foreign/", "no price"),
    Shown("/rules/", "no service serves the stop", mistyped),
    Shown("/dead-letters/journal/", "Journal"),
    Shown("/rules/99/", "no version 99", refused=404),
    Shown("/dead-letters/", "By cause"),
    Shown("/dead-letters/?group={group}", "Replay all of them"),
    Shown("/dead-letters/?id={letter}", "Only show where it would go"),
    Shown("/dead-letters/?id={letter}", "Where they would go", dry_run),
    Shown("/dead-letters/jobs/", "to see it"),
    Shown("/dead-letters/jobs/?job={job}", "Asked for"),
    Shown("/login", "Token", is_logged_in=False),
    Shown("/login", "Log in", wrong_token, is_logged_in=False, refused=401),
    Shown("/login", "is logged in until"),
    Shown("/table/", "Tables"),
    Shown("/table/rules/", "as TOML"),
    Shown("/table/outcomes/", "delivered"),
    Shown("/table/journeys/", "Journeys"),
    Shown("/table/dead_letters/", "Dead letters"),
    Shown("/traffic/", "Written to the bus"),
)


@pytest.mark.parametrize("shown", PAGES, ids=[page.name for page in PAGES])
async def test_a_page_is_accessible_fits_every_screen_and_has_no_error(
    shown: Shown, browser: Browser, line: ShownLine, logged_in: StorageState
) -> None:
    troubles = Troubles([line.host])
    async with window(browser, troubles, storage_state=logged_in if shown.is_logged_in else None) as context:
        page = await context.new_page()
        await page.goto(line.url + shown.path.format(**line.ids))
        if shown.act is not None:
            await shown.act(page)
        await page.get_by_text(shown.text).filter(visible=True).first.wait_for()
        problems = await at_all_widths(page)
        await page.emulate_media(color_scheme="dark")
        problems += await at_all_widths(page)
    problems += troubles.beside(shown.refused)
    assert not problems, "\n".join(problems)


async def at_all_widths(page: Page) -> list[str]:
    """Return the widths at which a page is too wide, and what axe-core finds on a screen and on a phone."""
    found = []
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})
        if pixels := await too_wide(page):
            found.append(f"at {width} pixels it is {pixels} too wide")
        if width in LOOKED_AT:
            found += await violations(page)
    await page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    return found


async def test_a_table_is_previewed_published_and_rolled_back(
    browser: Browser, line: ShownLine, logged_in: StorageState
) -> None:
    troubles = Troubles([line.host])
    async with window(browser, troubles, storage_state=logged_in) as context:
        page = await context.new_page()
        await page.goto(f"{line.url}/rules/")
        await preview(page)
        await page.get_by_text("Decided differently").first.wait_for()
        await page.fill("#reason", "more is kept")
        await page.get_by_role("button", name="Publish", exact=True).click()
        await page.get_by_text("version 2 replaces version 1").wait_for()
        await line.depot.push(numbered([5]))  # is not kept by version 1
        line.delivered += 1
        await page.goto(line.url)
        await expect(page.locator(DELIVERED)).to_have_text(str(line.delivered))
        await page.goto(f"{line.url}/rules/")
        await page.get_by_role("link", name="Roll back").first.click()
        await page.get_by_role("button", name="Roll back to version 1").click()
        await page.get_by_role("link", name="version 3").first.wait_for()
        await page.goto(f"{line.url}/journal/")
        await page.get_by_text("more is kept").first.wait_for()
    assert troubles.found == []


async def test_a_table_that_is_typed_while_the_login_ends_is_there_after_the_next_one(
    browser: Browser, line: ShownLine, logged_in: StorageState
) -> None:
    async with window(browser, storage_state=logged_in) as context:
        page = await context.new_page()
        await page.goto(f"{line.url}/rules/")
        await page.locator("#rules-form[data-ready]").wait_for()
        typed = f"{await page.locator('#table').input_value()}# <typed> & kept\n"
        await page.locator(".cm-content, #table:not([hidden])").fill(typed)
        await page.fill("#reason", "it took long")
        await context.clear_cookies()
        await page.get_by_role("button", name="Publish", exact=True).click()
        await page.get_by_label("Your name").fill("Ada")
        await page.get_by_label("Token").fill(TOKEN)
        assert await violations(page) == []
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_text("Logged in as Ada").wait_for()
        assert await violations(page) == []
        await page.get_by_role("button", name="Look at it again").click()
        await page.locator("#rules-form[data-ready]").wait_for()
        assert await page.locator("#table").input_value() == typed
        assert await page.locator("#reason").input_value() == "it took long"
        await page.get_by_text("+# <typed> & kept").wait_for()
