"""The table `rules` as data: the version that this worker decides by, earlier ones, and those that it refused."""

from __future__ import annotations

from itertools import islice
from typing import Any

import orjson

from metroline.agents.tables.live_rules import LiveRules
from metroline.agents.tables.publication import Publication
from metroline.app.markup.html import Markup, grid, markup, moment, tag
from metroline.app.markup.times import iso
from metroline.routing.strategies import Strategy

LISTED = 100
"""Earlier versions that are listed, the newest ones."""

ROWS = 1_000
"""Rules that a browser is shown as a table; all of them are in the TOML below it."""


def read(rule_tables: LiveRules, strategy: Strategy) -> dict[str, Any]:
    """The page's data. Every worker holds the whole table, so none asks another."""
    current = rule_tables.current
    version = current.live.version if current is not None else 0
    publications, refused = rule_tables.publications(), rule_tables.refused()
    earlier = (v for v in publications if v < version and v not in refused)
    page: dict[str, Any] = {
        "version": version,
        "current": None,
        "earlier": [published(v, publications[v]) for v in islice(earlier, LISTED)],
        "refused": [published(v, publications[v]) | {"reason": refused[v]} for v in publications if v in refused],
        "note": None,
    }
    if current is not None:
        rules = [rule.model_dump() for rule in current.live.rules]
        page["current"] = published(version, publications[version]) | {"rules": rules}
        if not strategy.needs_live and current.live.text != current.from_file.text:
            page["note"] = f"Journeys that begin here go by the line's file ({strategy.name}), which differs from this."
    return page


def entry(rule_tables: LiveRules, key: str) -> dict[str, Any] | None:
    """One version, by its number, or None."""
    for version, publication in rule_tables.publications().items():
        if str(version) == key:
            return published(version, publication) | {"reason": rule_tables.refused().get(version)}
    return None


def published(version: int, publication: Publication) -> dict[str, Any]:
    """What was published, by whom and when."""
    return {
        "version": version,
        "by": publication.by,
        "at": iso(publication.at),
        "replaces": publication.replaces,
        "text": publication.text,
    }


def show(page: dict[str, Any]) -> Markup:
    """As HTML: the rules in force as a table and as TOML, then the other versions."""
    parts = [tag("p", page["note"], class_="warning")] if page["note"] else []
    if page["current"]:
        parts += [tag("h2", "In force: ", _title(page["current"])), _rules(page["current"]["rules"])]
        parts.append(tag("details", tag("summary", "as TOML"), tag("pre", page["current"]["text"]), open="open"))
    else:
        parts.append(tag("p", "No version yet: this worker routes nothing until there is one.", class_="warning"))
    if page["refused"]:
        parts.append(tag("h2", "Refused by this worker"))
    parts += [show_entry(version) for version in page["refused"]]
    if page["earlier"]:
        parts.append(tag("h2", "Earlier"))
    parts += [show_entry(version) for version in page["earlier"]]
    return Markup("".join(parts))


def show_entry(version: dict[str, Any]) -> Markup:
    """One version as HTML."""
    reason = version.get("reason")
    link = tag("a", _title(version), href=f"/table/rules/{version['version']}/")
    return tag(
        "section",
        tag("p", link),
        tag("pre", reason, class_="warning") if reason else None,
        tag("details", tag("summary", "as TOML"), tag("pre", version["text"])),
    )


def _title(version: dict[str, Any]) -> Markup:
    return markup([f"version {version['version']}, published by {version['by']}, ", moment(version["at"])])


def _rules(rules: list[dict[str, Any]]) -> Markup:
    rows = []
    for rule in rules[:ROWS]:
        matches = [tag("code", f"{name} = {orjson.dumps(value).decode()}") for name, value in rule["match"].items()]
        when = tag("code", rule["when"]) if rule["when"] else None
        to = tag("b", rule["to"]) if rule["to"] else tag("span", "drop: ", rule["drop"], class_="ending dropped")
        rows.append([rule["after"], matches, when, to, rule["name"]])
    rest = tag("p", f"And {len(rules) - ROWS:,} more, see the TOML.") if len(rules) > ROWS else None
    return markup([grid(["After", "Match", "When", "To", "Rule"], rows), rest])
