"""The first page in a browser while records flow: its figures move, its stations do not, and the keyboard is enough."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, StorageState, expect

from metroline.app.markup.times import iso
from metroline.app.views.first_page import SUMS
from tests.support.browser import DELIVERED, Troubles, station_places, window
from tests.support.depot import numbered
from tests.support.shown_line import MARKUP, ShownLine
from tests.support.watched_proxy import watched_proxy

pytestmark = pytest.mark.asyncio(loop_scope="session")

TABS = 8
MOST_TABS_TO_A_STOP = 40

MANY = 20
"""Dead letters of a job that sends one in ten seconds, so that it goes on for longer than a test may take."""

UP_TO_DATE = "They are kept up to date."

IS_STILL = """() => {
  const styles = [...document.querySelectorAll("*")].map((one) => getComputedStyle(one));
  return !document.getAnimations().length && styles.every((one) => one.scrollBehavior !== "smooth" &&
    parseFloat(one.transitionDuration) === 0 && one.animationName === "none");
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, line: ShownLine) -> AsyncIterator[BrowserContext]:
    """Yield a window on a wide screen, in which nothing may go wrong."""
    troubles = Troubles([line.host])
    async with window(browser, troubles) as context:
        yield context
    assert troubles.found == []


async def opened(context: BrowserContext, url: str) -> Page:
    """Return a page that has heard of the line."""
    page = await context.new_page()
    await page.goto(url)
    await expect(page.locator("#freshness")).to_have_text(UP_TO_DATE)
    return page


async def test_figures_move_and_stations_do_not(context: BrowserContext, line: ShownLine) -> None:
    page = await opened(context, line.url)
    await expect(page.locator(DELIVERED)).to_have_text(str(line.delivered))
    places = await station_places(page)
    assert places
    await line.push(range(100))
    await expect(page.locator(DELIVERED)).to_have_text(str(line.delivered))
    assert await station_places(page) == places


async def test_the_keyboard_alone_opens_a_panel_and_escape_leads_back(context: BrowserContext, line: ShownLine) -> None:
    page = await opened(context, line.url)
    station = page.locator(".wide-map a[href='#stop-weigh']")
    for _ in range(MOST_TABS_TO_A_STOP):
        await page.keyboard.press("Tab")
        if await station.evaluate("link => link === document.activeElement"):
            break
    else:
        pytest.fail("no stop of the map is reached")
    await page.keyboard.press("Enter")
    await expect(page.locator("#stop-weigh h3")).to_be_focused()
    await expect(page.locator("#stop-weigh")).to_be_in_viewport()
    await page.keyboard.press("Escape")
    await expect(station).to_be_focused()
    await expect(page.locator(".panel:target")).to_have_count(0)
    await page.keyboard.press("Enter")
    await expect(page.locator("#stop-weigh h3")).to_be_focused()


async def test_the_panel_of_a_row_leads_back_to_the_row(context: BrowserContext, line: ShownLine) -> None:
    page = await opened(context, line.url)
    row = page.locator(".stops a[href='#stop-crane']")
    await row.click()
    await expect(page.locator("#stop-crane h3")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(row).to_be_focused()


async def test_nothing_moves_for_those_who_want_no_motion(context: BrowserContext, line: ShownLine) -> None:
    page = await opened(context, line.url)
    assert not await page.evaluate(IS_STILL), "the page scrolls smoothly, so that the check finds motion"
    await page.emulate_media(reduced_motion="reduce")
    assert await page.evaluate(IS_STILL)


def answers(line: ShownLine, state: dict[str, Any]) -> dict[str, list[str]]:
    """Return the questions of an operator, and what this line answers to each, as an accessibility tree has it."""
    weigh, sums, verdict = state["places"]["service.weigh"], state["sums"], state["verdict"]
    [worker] = [one for one in state["workers"] if one["url"] == line.url]
    [failure] = [one for one in state["failures"] if one["stop"] == "weigh"]
    published = next(one["text"] for one in state["events"] if one["kind"] == "published")
    held = {one["rule"]: one["count"] for one in state["rules"]}["heavy ones need the crane"]
    terms = " + ".join(f"{sums[term]} {term.replace('_', ' ')}" for term in SUMS)
    dead, version, minute = sums["dead"], state["version"], (iso(state["at"]) or "")[:16].replace("T", " ")
    return {
        "Is all well?": [f'heading "{verdict["text"]}"', f'status: "Verdict: {verdict["level"]}, {verdict["kind"]}."'],
        "Where does it pile up, since when?": [f'row "weigh {weigh["waiting"]} {weigh["trend"]} '],
        "What fails: one cause or many?": [f"{failure['count']} dead letters: {failure['cause']}, "],
        "What changed?": [published, f"{line.url} started (all)"],
        "Do all workers run the same?": [f" signpost {version} {worker['code']} "],
        "Do the sums add up?": [f"{sums['sent']} sent = {terms}.", f"{sums['unaccounted']} records are missing"],
        "What if I change this rule?": ['link "heavy ones need the crane"', f"held {held} times"],
        "What can I do?": [f"version {version} is in use", f"{dead} records ended as dead letters", "Log in to change"],
        "Who did what?": [f'link "{published}"', 'link "The journal: who did what'],
        "Is it fresh?": [f"time: {minute}", ", the oldest told ", UP_TO_DATE],
    }


async def test_the_questions_of_operators_have_answers_that_a_screen_reader_finds(
    context: BrowserContext, line: ShownLine
) -> None:
    page = await opened(context, line.url)
    missing: dict[str, list[str]] = {}

    async def are_answered() -> bool:
        state = await line.get("/api/live")  # it may be newer than what the page shows, and then it is asked again
        told = await page.locator("main").aria_snapshot()
        wanted = answers(line, state).items()
        missing.clear()
        missing.update({question: [one for one in answer if one not in told] for question, answer in wanted})
        return not any(missing.values())

    try:
        await line.depot.until(are_answered)
    except AssertionError:
        pytest.fail(f"not answered: {missing}\n{await page.locator('main').aria_snapshot()}")
    await page.get_by_role("searchbox").fill(line.ids["journey"])
    await page.get_by_role("button", name="Find it").click()
    await expect(page.get_by_role("heading", name=f"Journey {line.ids['journey']}")).to_be_visible()


async def test_all_tabs_share_one_stream_and_a_further_page_answers(browser: Browser, line: ShownLine) -> None:
    async with watched_proxy(line.url) as proxy, window(browser) as context:
        tabs = [await opened(context, proxy.url) for _ in range(TABS)]
        further = await context.new_page()
        await further.goto(f"{proxy.url}/table/rules/")
        await line.push(range(10))
        for tab in tabs:
            await expect(tab.locator(DELIVERED)).to_have_text(str(line.delivered))
        await line.depot.until(lambda: proxy.streams == 1)


async def test_behind_a_proxy_that_holds_streams_back_the_page_asks(browser: Browser, line: ShownLine) -> None:
    async with watched_proxy(line.url, holds_back=True) as proxy, window(browser) as context:
        page = await opened(context, proxy.url)
        await line.push(range(10))
        await expect(page.locator(DELIVERED)).to_have_text(str(line.delivered))


async def test_markup_in_a_record_is_shown_as_text(context: BrowserContext, line: ShownLine) -> None:
    page = await context.new_page()
    await page.goto(f"{line.url}/journeys/{line.ids['journey']}")
    await expect(page.locator("pre").filter(has_text=MARKUP).first).to_be_attached()
    assert await page.locator("img, main script").count() == 0


async def test_a_stranger_sees_no_form_that_writes(context: BrowserContext, line: ShownLine) -> None:
    page = await context.new_page()
    await page.goto(f"{line.url}/dead-letters/?id={line.ids['letter']}")
    await expect(page.get_by_role("link", name="Log in to do this").first).to_be_visible()
    assert await page.locator("form[method=post]").count() == 0


async def test_a_dead_letter_is_edited_and_replayed(browser: Browser, line: ShownLine, logged_in: StorageState) -> None:
    await line.depot.push(numbered(["refused"], kind="to be edited"))
    found: list[str] = []

    async def is_listed() -> bool:
        letters = await line.get(f"/dead-letters/?group={line.ids['group']}")
        found[:] = [one["id"] for one in letters if "kind" in one["record"]]
        return bool(found)

    await line.depot.until(is_listed)
    async with window(browser, storage_state=logged_in) as context:
        page = await context.new_page()
        await page.goto(f"{line.url}/dead-letters/?id={found[0]}")
        await page.get_by_label("Record, as it is replayed").fill('{"n": 4}')
        await page.get_by_role("button", name="Replay", exact=True).click()
        await expect(page.get_by_role("heading", name="Done")).to_be_visible()
        line.delivered += 1
        await page.goto(line.url)
        await expect(page.locator(DELIVERED)).to_have_text(str(line.delivered))


async def test_a_replay_is_paused_and_cancelled(browser: Browser, line: ShownLine, logged_in: StorageState) -> None:
    await line.depot.push(numbered(["refused"] * MANY))
    path = f"/dead-letters/?group={line.ids['group']}&limit=200"
    letters: list[str] = []

    async def are_listed() -> bool:
        letters[:] = [one["id"] for one in await line.get(path)]
        return len(letters) >= MANY

    await line.depot.until(are_listed)
    started = await line.post(
        "/dead-letters/jobs/start/", {"ids": letters[:MANY], "reason": "slowly", "rate": 0.1, "stop_at": 1.0}
    )
    async with window(browser, storage_state=logged_in) as context:
        page = await context.new_page()
        await page.goto(f"{line.url}/dead-letters/jobs/?job={started['job']}")
        await page.get_by_role("button", name="Pause").click()
        await expect(page.get_by_role("button", name="Resume")).to_be_visible()
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.get_by_role("button", name="Resume")).to_have_count(0)
    job = await line.get(f"/dead-letters/jobs/?job={started['job']}")
    assert job["state"] == "cancelled"
