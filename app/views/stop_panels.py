"""The panels of stops on the first page: rules with what they read, failures by cause, and links to more."""

from __future__ import annotations

import json

from metroline.agents.pulses.live_state import FailureState, LiveState
from metroline.agents.pulses.verdict import rate
from metroline.app.markup.html import Markup, tag
from metroline.app.markup.numbers import count, counted
from metroline.app.views.anchors import journeys_link, letters_link, panel_id, rule_link
from metroline.app.views.figures import Figures, address_of
from metroline.routing.addresses import SOURCE
from metroline.routing.rules.condition import Condition
from metroline.routing.rules.explain import fields_read
from metroline.routing.rules.network import Network
from metroline.routing.rules.rule import Rule

LISTED_RULES = 200


def stop_panel(figures: Figures, network: Network, stop: str) -> Markup:
    """Return the panel of a stop: its rules in order, with how often each held and what it reads, and its failures.

    The script of the page adds the recent journeys once somebody looks at the panel.
    """
    rules = network.edges.get(stop, [])
    place = figures.state.places.get(address_of(stop))
    return tag(
        "section",
        tag("h3", stop, tabindex="-1"),
        tag("p", f"Paused: {place.paused}", class_="warning") if place is not None and place.paused else None,
        tag("ol", [_rule(figures, rule) for rule in rules[:LISTED_RULES]], class_="rules")
        if rules
        else tag("p", "It has no rules: records are delivered after it."),
        tag("p", tag("a", f"… and {counted(len(rules) - LISTED_RULES, 'more rule')}", href=rule_link(None)))
        if len(rules) > LISTED_RULES
        else None,
        tag("ul", _failures(figures.state, stop), class_="failures", data_stop=stop),
        tag("p", figures.mark("span", "", "since", "rules")),
        tag("div", class_="recent", data_stop=stop, aria_live="polite"),
        tag("p", _ways(stop)),
        id=panel_id(stop),
        class_="panel",
    )


def _ways(stop: str) -> list[Markup | str]:
    return [
        tag("a", f"journeys of {stop}", href=journeys_link(None if stop == SOURCE else stop)),
        " · ",
        tag("a", f"dead letters of {stop}", href=letters_link(stop)),
        " · ",
        tag("a", "back to the map", href="#map"),
    ]


def _rule(figures: Figures, rule: Rule) -> Markup:
    equal = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in rule.match.items())
    condition = " and ".join(filter(None, (equal, rule.when or ""))) or "always"
    goal = f"to {rule.to}" if rule.to is not None else f"dropped: {rule.drop}"
    fields = what_it_reads(rule)
    return tag(
        "li",
        tag("a", rule.name, href=rule_link(rule.name), title="Change this rule"),
        " ",
        tag("code", condition),
        f" → {goal}; held ",
        figures.mark("span", "count", "count", "rules", rule.name),
        " times, ",
        figures.mark("span", "per_second", "rate", "rules", rule.name),
        tag("span", "; reads ", tag("code", ", ".join(fields)), class_="reads") if fields else None,
    )


def what_it_reads(rule: Rule) -> list[str]:
    """Return the names of all that a rule reads of a record."""
    read = [] if rule.when is None else fields_read(Condition.compile(rule.when))
    return list(dict.fromkeys([*rule.match, *read]))


def _failures(state: LiveState, stop: str) -> list[Markup]:
    return [tag("li", _failure(one)) for one in state.failures if one.stop == stop]


def _failure(one: FailureState) -> Markup:
    told = f"{count(one.count)} dead letters: {one.cause}, {rate(one.per_second)}/s"
    return tag("a", told, href=letters_link(one.stop, one.cause))
