"""The pages of the rules: the version that this worker decides by, earlier versions, and those that it refused."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import orjson
from faust import web
from msgspec import Struct, to_builtins

from metroline.agents.tables.live_rules import LiveRules
from metroline.agents.tables.publication import Publication
from metroline.app.markup.html import Markup, grid, markup, moment, tag
from metroline.app.markup.numbers import count
from metroline.app.markup.times import iso
from metroline.app.views.operation import Operation, Parameter
from metroline.app.views.tables.catalog import RULES
from metroline.app.views.tables.table_list import NOT_FOUND, TableView, blueprint
from metroline.app.views.view import LineView
from metroline.routing.rules.rule import Rule, Wanted
from metroline.routing.strategies import Strategy

LISTED = 100
"""Earlier versions that are listed, the newest ones."""

ROWS = 1_000
"""Rules in the table of a browser; the TOML below it has all of them."""


class Version(Struct, frozen=True):
    """A published version: its number, by whom and when it was published, the version before it, and its TOML."""

    version: int
    by: str
    at: str | None
    replaces: int
    text: str
    why: str
    """The reason that was given for it; empty if none was."""


class JudgedVersion(Version, frozen=True):
    """A version with the reason why this worker refused it, None if it did not."""

    reason: str | None


class RuleRow(Struct, frozen=True):
    """A rule as the table has it."""

    name: str
    after: str
    match: dict[str, Wanted]
    when: str | None
    to: str | None
    drop: str | None


class CurrentVersion(Version, frozen=True):
    """The version that this worker decides by, with its rules."""

    rules: list[RuleRow]


class RulesContent(Struct, frozen=True):
    """The content of the page. The current version is number 0 and None until there is one."""

    version: int
    current: CurrentVersion | None
    earlier: list[Version]
    refused: list[JudgedVersion]
    note: str | None


class RulesAnswer(RulesContent, frozen=True):
    """The page for programs."""

    table: str


class VersionAnswer(Struct, frozen=True):
    """The page of one version for programs."""

    table: str
    key: str
    value: JudgedVersion


@blueprint.route("/rules", name="rules-bare")
@blueprint.route("/rules/", name="rules")
class RulesPage(LineView):
    """The rules, which every worker holds in full."""

    api = (Operation("get", "Rules: the current version, earlier ones, and refused ones", RulesAnswer),)

    async def get(self, request: web.Request) -> web.Response:
        content = read(self.worker.live_rules, self.worker.settings.strategy)
        return self.answer(request, "Rules", {"table": RULES} | to_builtins(content), lambda: show(content))


@blueprint.route("/rules/{key:.+}", name="rules-version")
class RulesVersion(TableView):
    """One version of the rules."""

    api = (
        Operation(
            "get",
            "One version of the rules",
            VersionAnswer,
            (Parameter("key", "Number of the version"),),
            others=NOT_FOUND,
        ),
    )

    async def get(self, request: web.Request, key: str) -> web.Response:
        key = key.rstrip("/")
        found = entry(self.worker.live_rules, key)
        if found is None:
            return self.not_found(request, f"the rules have no version {key}")
        data = {"table": RULES, "key": key, "value": found}
        return self.answer(request, f"Rules, version {key}", data, lambda: _show_version(found))


def read(rule_tables: LiveRules, strategy: Strategy) -> RulesContent:
    """Return the content of the page. Every worker holds all rules, so none asks another."""
    current = rule_tables.current
    version = current.live.version if current is not None else 0
    publications, refused = rule_tables.publications, rule_tables.refused()
    earlier = (v for v in publications if v < version and v not in refused)
    note = None
    if current is not None and not strategy.needs_live and current.live.text != current.from_file.text:
        note = (
            f"New journeys on this worker follow the rules in the file of the line ({strategy.name}), which differ from"
            " this version."
        )
    return RulesContent(
        version,
        None if current is None else _current(version, publications[version], current.live.rules),
        [_version(v, publications[v]) for v in islice(earlier, LISTED)],
        [_judged(v, publications[v], refused[v]) for v in publications if v in refused],
        note,
    )


def entry(rule_tables: LiveRules, key: str) -> JudgedVersion | None:
    """Return one version by its number."""
    version = rule_tables.publications.named(key)
    if version is None:
        return None
    return _judged(version, rule_tables.publications[version], rule_tables.refused().get(version))


def _version(version: int, publication: Publication) -> Version:
    return Version(version, *_facts(publication))


def _judged(version: int, publication: Publication, reason: str | None) -> JudgedVersion:
    return JudgedVersion(version, *_facts(publication), reason)


def _current(version: int, publication: Publication, rules: Sequence[Rule]) -> CurrentVersion:
    rows = [RuleRow(rule.name, rule.after, rule.match, rule.when, rule.to, rule.drop) for rule in rules]
    return CurrentVersion(version, *_facts(publication), rows)


def _facts(publication: Publication) -> tuple[str, str | None, int, str, str]:
    """Return the fields that all versions have, after the number."""
    return publication.by, iso(publication.at), publication.replaces, publication.text, publication.reason


def show(content: RulesContent) -> Markup:
    """Return the current rules as a table and as TOML, then the other versions, as HTML."""
    parts = [tag("p", content.note, class_="warning")] if content.note else []
    if content.current:
        parts += [tag("h2", "Current: ", _title(content.current)), _rules(content.current.rules)]
        parts.append(tag("details", tag("summary", "as TOML"), tag("pre", content.current.text), open="open"))
    else:
        parts.append(tag("p", "No version yet. This worker routes nothing until there is one.", class_="warning"))
    if content.refused:
        parts.append(tag("h2", "Refused by this worker"))
    parts += map(_show_version, content.refused)
    if content.earlier:
        parts.append(tag("h2", "Earlier"))
    parts += map(_show_version, content.earlier)
    return Markup("".join(parts))


def _show_version(version: Version) -> Markup:
    reason = version.reason if isinstance(version, JudgedVersion) else None
    link = tag("a", _title(version), href=f"/table/rules/{version.version}/")
    return tag(
        "section",
        tag("p", link),
        tag("pre", reason, class_="warning") if reason else None,
        tag("details", tag("summary", "as TOML"), tag("pre", version.text)),
    )


def _title(version: Version) -> Markup:
    why = f": {version.why}" if version.why else None
    return markup([f"version {version.version}, published by {version.by}, ", moment(version.at), why])


def _rules(rules: list[RuleRow]) -> Markup:
    rows = []
    for rule in rules[:ROWS]:
        matches = [tag("code", f"{name} = {orjson.dumps(value).decode()}") for name, value in rule.match.items()]
        when = tag("code", rule.when) if rule.when else None
        to = tag("b", rule.to) if rule.to else tag("span", "drop: ", rule.drop, class_="ending dropped")
        rows.append([rule.after, matches, when, to, rule.name])
    rest = tag("p", f"And {count(len(rules) - ROWS)} more: see the TOML.") if len(rules) > ROWS else None
    return markup([grid(["After", "Match", "When", "To", "Rule"], rows), rest])
