"""Links from page to page: to the place of a rule, to the panel of a stop, to its journeys and its dead letters."""

from __future__ import annotations

from urllib.parse import quote, urlencode

JOURNAL_PATH = "/journal/"

RULES_LIST = "rules"
"""The id of the list of rules on their page."""


def rule_id(name: str) -> str:
    """Return the id that a rule has on the page of the rules: names have characters that ids and links may not have."""
    return "rule-" + quote(name, safe="").replace(".", "%2E").replace("%", ".")


def rule_link(name: str | None) -> str:
    """Return the address of a rule on the page of the rules; without a name, that of all rules."""
    return f"/rules/#{RULES_LIST if name is None else rule_id(name)}"


def panel_id(stop: str) -> str:
    """Return the id of a stop's panel on the first page."""
    return f"stop-{stop}"


def journeys_link(stop: str | None) -> str:
    """Return the address of the journeys that visited a stop; without one, that of all journeys."""
    return "/journeys/" + (f"?{urlencode({'stop': stop})}" if stop is not None else "")


def letters_link(stop: str, kind: str | None = None) -> str:
    """Return the address of the groups of dead letters of a stop, or of those of one kind there."""
    return f"/dead-letters/?{urlencode({'stop': stop} | ({'kind': kind} if kind is not None else {}))}"
