"""Writes into `cases.toml` what the journeys of the cases are; comments and everything else stay as they are."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from metroline.app.testing.case_results import CaseResult, changes, has_reason, reason_of, removes
from metroline.app.testing.cases import EXPECTED, Case, Cases
from metroline.app.testing.journey import Journey
from metroline.app.testing.toml_statements import Table, tables_of
from metroline.app.testing.toml_values import has_null
from metroline.routing.errors import MetrolineError
from metroline.routing.records.fingerprints import canonical


class NotUpdatable(MetrolineError):
    """Raised when the text of a `cases.toml` cannot be changed without the loss of something else."""


Keys = dict[str, Any]
"""The keys of a case, as they are in the file."""


def updated(cases: Cases, results: Sequence[CaseResult]) -> str:
    """Return the text of the cases with what became of those that failed, if it was the same under every strategy.

    Raise `NotUpdatable` if the text is written in a way in which it cannot be changed.
    """
    data = tomllib.loads(cases.text)
    wanted = [dict(one) for one in data["cases"]]
    for number, case in enumerate(cases.cases):
        own = [result for result in results if result.case is case]
        if any(not result.has_passed for result in own):
            wanted[number] = _common(wanted[number], case, own)
    text = _rewritten(cases.text, data["cases"], wanted)
    if not _holds(text, data | {"cases": wanted}):
        how = "write each case below a [[cases]] of its own, and its changes in one table"
        raise NotUpdatable(f"{cases.file} cannot be updated: {how}")
    return text


def _holds(text: str, data: Keys) -> bool:
    """Return whether a text is TOML with this content."""
    try:
        return tomllib.loads(text) == data
    except tomllib.TOMLDecodeError:
        return False


def _common(keys: Keys, case: Case, results: Sequence[CaseResult]) -> Keys:
    """Return the keys of a case that expects its results; those that it has if the results differ, or are unknown."""
    first, *others = [None if one.journey is None else after(keys, case, one.journey) for one in results]
    return keys if first is None or any(other != first for other in others) else first


def after(keys: Keys, case: Case, journey: Journey) -> Keys:
    """Return the keys of a case that expects this journey.

    A case that expected nothing gets all of them. Otherwise those that it has are corrected, and a new outcome gets its
    reason.
    """
    fields = changes(case, journey)
    found: Keys = {
        "stops": journey.stops,
        "outcome": journey.outcome,
        "reason": reason_of(journey),
        "end": journey.end,
        "changes": orjson.dumps(fields).decode() if has_null(fields) else fields,
        "removes": removes(case, journey),
    }
    if case.reason is not None and has_reason(journey, case.reason):
        found["reason"] = case.reason
    if case.changes is not None and canonical(case.changes) == canonical(fields):
        found["changes"] = keys["changes"]
    named = [name for name in EXPECTED if name in keys]
    if case.expects_nothing:
        named = [name for name in EXPECTED if found[name] or name == "stops"]  # no stops are expected, too
    elif case.outcome not in (None, journey.outcome) and "reason" not in named:
        named.append("reason")
    kept = {name: value for name, value in keys.items() if name not in EXPECTED}
    return kept | {name: found[name] for name in EXPECTED if name in named and found[name] is not None}


def _rewritten(text: str, before: Sequence[Keys], wanted: Sequence[Keys]) -> str:
    """Return a text in which the cases have other keys."""
    written, number = [], -1
    for table in tables_of(text):
        number += table.name == ("cases",)
        if table.name[:1] == ("cases",) and number >= 0 and before[number] != wanted[number]:
            written.append(_case(table, before[number], wanted[number]))
        else:
            written.append(table.text)
    return "".join(written)


def _case(table: Table, before: Keys, wanted: Keys) -> str:
    """Return the text of a case, or of a table within it, with the keys that the case is to have."""
    path = table.name[1:]
    if not path:
        inline = {statement.keys[0] for statement in table.body if statement.keys}
        tables = {name for name in before if name not in inline and isinstance(wanted.get(name, {}), dict)}
        return table.edited(_without(before, tables), _without(wanted, tables)).text
    if path[0] not in EXPECTED:
        return table.text
    if not isinstance(wanted.get(path[0]), dict) or len(path) > 1:
        return ""
    return table.edited(before[path[0]], wanted[path[0]]).text


def _without(keys: Mapping[str, Any], names: set[str]) -> Keys:
    return {name: value for name, value in keys.items() if name not in names}
