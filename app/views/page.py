"""The frame of every HTML page: its head, the links to the other pages, and its footer."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from metroline.app.markup.html import Markup, head, tag

SEPARATOR = " · "

LINKS = {
    "/": "The line",
    "/journeys/": "Journeys",
    "/rules/": "Rules",
    "/dead-letters/": "Dead letters",
    "/compare/": "Comparisons",
    "/journal/": "Journal",
    "/table/outcomes/": "Outcomes",
    "/table/": "Tables",
    "/traffic/": "Traffic",
}


def document(
    title: str,
    line: str,
    worker: str,
    path: str,
    body: Markup,
    *,
    as_json: str = "?format=json",
    extra: Markup | None = None,
    login: Markup | None = None,
) -> str:
    """Return a whole HTML document. `worker` is the address of the worker that answers, `path` that of the page.

    `as_json` is the query by which the page's data is asked for as JSON.
    `extra` are the scripts and styles that the page loads. `login` is the footer's word on who is logged in.
    """
    return "<!DOCTYPE html>\n" + tag(
        "html",
        head(f"{title}{SEPARATOR}{line}", _style()),
        tag(
            "body",
            extra,
            tag("header", tag("a", line, class_="line", href="/"), tag("nav", _links(path))),
            tag("main", tag("h1", title), body),
            tag(
                "footer",
                "Served by ",
                tag("a", worker, href=worker, id="served-by"),
                SEPARATOR,
                tag("a", "as JSON", href=as_json),
                None if login is None else [SEPARATOR, login],
            ),
        ),
        lang="en",
    )


def _links(path: str) -> list[Markup]:
    here = max((to for to in LINKS if path.startswith(to)), key=len, default="/")
    return [tag("a", name, href=to, aria_current="page" if to == here else None) for to, name in LINKS.items()]


@cache
def _style() -> Markup:
    """Return the style sheet, which every page carries itself."""
    return Markup(files(__package__).joinpath("page.css").read_text("utf-8"))
