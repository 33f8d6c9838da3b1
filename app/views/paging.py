"""Pages of a list: the one that a query asks for, and the address of the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import urlencode

from metroline.app.markup.html import Markup, tag
from metroline.app.operations.desk import MAX_PAGE, PAGE
from metroline.routing.errors import MetrolineError


class BadRequest(MetrolineError):
    """Raised for a wrong parameter, and for a body that is not one JSON object or would change as it is read."""


class Listed(Protocol):
    """Something in a list."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Listed)


@dataclass(frozen=True, slots=True)
class Paging:
    """The page that a query asks for."""

    path: str
    chosen: Mapping[str, str]
    """The parameters that choose the list."""
    limit: int
    """The length of the page."""
    after: str | None
    """The id of the last one of the page before."""

    @classmethod
    def of(cls, path: str, query: Mapping[str, str], *names: str) -> Paging:
        """Read a query; the parameters with these names choose the list. Raise `BadRequest`."""
        chosen = {name: query[name] for name in names if query.get(name)}
        return cls(path, chosen, _limit_of(query.get("limit")), query.get("after") or None)

    def next(self, last: str | None) -> str | None:
        """Return the address of the next page, by the id of the last one of this page; None if there is none."""
        if last is None:
            return None
        return f"{self.path}?{urlencode({**self.chosen, 'limit': self.limit, 'after': last})}"

    def cut(self, listed: Sequence[T]) -> tuple[Sequence[T], str | None]:
        """Return the page of a list, and the address of the next one."""
        begin = next((place for place, one in enumerate(listed, 1) if one.id == self.after), 0)
        shown = listed[begin : begin + self.limit]
        return shown, self.next(shown[-1].id if begin + self.limit < len(listed) else None)


def next_link(address: str | None) -> Markup | None:
    """Return the link to the next page, if there is one."""
    return None if address is None else tag("p", tag("a", "Further ones", href=address))


def _limit_of(asked: str | None) -> int:
    if not asked:
        return PAGE
    if not (asked.isascii() and asked.isdigit() and len(asked) < 9 and 1 <= int(asked) <= MAX_PAGE):
        raise BadRequest(f"limit is a number from 1 to {MAX_PAGE}")
    return int(asked)
