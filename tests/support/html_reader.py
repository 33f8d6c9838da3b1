"""Reads HTML as a browser does: elements, attributes and the visible text."""

from __future__ import annotations

from html.parser import HTMLParser

VOID_ELEMENTS = frozenset({"meta", "link", "input"})


class HtmlReader(HTMLParser):
    """The elements of a document in order, its text without style sheets, and the elements left open at its end."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.elements]

    @property
    def text(self) -> str:
        """Return all text exactly as it is in the document."""
        return "".join(self.texts)

    @property
    def words(self) -> str:
        """Return all text, with a single space between elements and words."""
        return " ".join(" ".join(self.texts).split())

    def attributes(self, tag: str, name: str) -> list[str | None]:
        return [attributes[name] for element, attributes in self.elements if element == tag and name in attributes]
