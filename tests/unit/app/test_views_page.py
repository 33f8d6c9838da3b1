"""The layout of every page: it links to all other pages, loads nothing, and escapes names."""

from __future__ import annotations

from metroline.app.markup.html import tag
from metroline.app.views.page import LINKS, document
from tests.support.html_reader import HtmlReader

EVIL = "<script>alert(1)</script>\"'&"


def test_every_page_links_to_all_others_and_loads_nothing() -> None:
    read = HtmlReader(document(EVIL, EVIL, "http://here:1", "/table/outcomes/0/source/1/", tag("p", "x")))
    assert set(LINKS) <= set(read.attributes("a", "href"))
    assert read.attributes("a", "aria-current") == ["page"]
    assert not {"script", "img", "iframe"} & set(read.names)
    assert read.attributes("link", "href") == ["data:,"]
    assert read.open == []
