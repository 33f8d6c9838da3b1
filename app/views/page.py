"""What stands around every HTML page: its head, the links to the other pages, its foot."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from metroline.app.markup.html import Markup, tag

SPACED = " · "
AS_JSON = tag("a", "as JSON", href="?format=json")

LINKS = {
    "/": "Worker",
    "/table/": "Tables",
    "/table/rules/": "Rules",
    "/table/outcomes/": "Outcomes",
    "/table/journeys/": "Journeys",
    "/table/dead_letters/": "Dead letters",
    "/traffic/": "Traffic",
}


def frame(title: str, line: str, worker: str, path: str, body: Markup) -> str:
    """A whole document; `worker` is the address of the worker that answers, `path` the page's own."""
    here = max((to for to in LINKS if path.startswith(to)), key=len, default="/")
    links = [tag("a", name, href=to, aria_current="page" if to == here else None) for to, name in LINKS.items()]
    return "<!DOCTYPE html>\n" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name_="color-scheme", content="light dark"),
            tag("link", rel="icon", href="data:,"),
            tag("title", f"{title}{SPACED}{line}"),
            tag("style", style()),
        ),
        tag(
            "body",
            tag("header", tag("a", line, class_="line", href="/"), tag("nav", links)),
            tag("main", tag("h1", title), body),
            tag(
                "footer",
                "Answered by ",
                tag("a", worker, href=worker),
                SPACED,
                tag("a", "as JSON", href="?format=json"),
            ),
        ),
        lang="en",
    )


@cache
def style() -> Markup:
    """The style sheet, which every page carries itself."""
    return Markup(files(__package__).joinpath("page.css").read_text("utf-8"))
