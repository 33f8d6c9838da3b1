"""Maps of 3 to 40 stops in a browser: every name and figure can be read, on a screen and on a phone."""

from __future__ import annotations

from itertools import combinations

import pytest
from playwright.async_api import Browser, Route

from metroline.agents.pulses.line_state import LineState
from metroline.app.markup.html import tag
from metroline.app.views.first_page import SCRIPTS, first_page
from metroline.app.views.page import document
from metroline.app.views.static_files import static_files
from metroline.routing.rules.table import RulesTable
from tests.support.browser import figure_heights, name_boxes, too_wide, violations, window
from tests.support.chains import chain
from tests.support.live_figures import NOW

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCESS = tag("p", "You may do all of this.")

URL = "http://line.test/"

LEAST_HEIGHT = 10.5
"""Height of a name or a figure that people can read, in pixels."""

GOES_ON_AT_THE_SIDES = "[document.getElementById('map')].map((map) => map.scrollWidth > map.clientWidth)[0]"
"""Tells whether a part of the map can only be seen by scrolling it."""


def page_of(stops: int) -> str:
    """Return the first page of a line with this many stops."""
    state = LineState("chain").snapshot(NOW)
    body = first_page(state, RulesTable.parse(chain(stops)), 1, (), {"role": "all"}, ACCESS, NOW)
    return document("The line", "chain", URL, "/", body, extra=SCRIPTS)


@pytest.mark.parametrize("stops", [3, 10, 20, 40])
async def test_every_name_on_a_map_can_be_read(stops: int, browser: Browser) -> None:
    async def answer(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        if not name:
            await route.fulfill(body=page_of(stops), content_type="text/html; charset=utf-8")
        elif name.endswith(".css"):
            await route.fulfill(body=static_files()[name].content, content_type=static_files()[name].type)
        else:
            await route.abort()  # no script runs: there is no worker to ask

    async with window(browser) as context:
        page = await context.new_page()
        await page.route(f"{URL}**", answer)
        await page.goto(URL)
        for width in (1400, 390):
            await page.set_viewport_size({"width": width, "height": 900})
            names = await name_boxes(page)
            assert len(names) == stops + 1, "each stop has its name once, and so has the source"
            assert min(name.height for name in names) >= LEAST_HEIGHT
            assert min(await figure_heights(page)) >= LEAST_HEIGHT
            assert not [pair for pair in combinations(names, 2) if pair[0].overlaps(pair[1])]
            assert await too_wide(page) == 0
            if width == 1400:
                assert await page.evaluate(GOES_ON_AT_THE_SIDES) is False
        assert await violations(page) == []
