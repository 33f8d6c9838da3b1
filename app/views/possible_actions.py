"""The actions that the first page leads to: on the rules, on dead letters, and comparisons."""

from __future__ import annotations

from metroline.app.markup.html import Markup, tag
from metroline.app.views.figures import Figures

RULES_PATH, LETTERS_PATH, COMPARISONS_PATH = "/rules/", "/dead-letters/", "/compare/"


def possible_actions(figures: Figures, access: Markup) -> Markup:
    """Return what can be done now, with the figures that it is about. `access` says whether the visitor may do it."""
    return Markup(
        tag("h2", "What can I do?")
        + tag(
            "ul",
            tag(
                "li",
                tag("a", "Change the rules", href=RULES_PATH),
                ": version ",
                figures.mark("b", "version", "count"),
                " is in use. See what a change would do, publish it, or roll back to a version before it.",
            ),
            tag(
                "li",
                tag("a", "Put dead letters right", href=LETTERS_PATH),
                ": ",
                figures.mark("b", "dead", "count", "sums"),
                " records ended as dead letters. Edit, replay or discard them; a replay job can be paused.",
            ),
            tag(
                "li",
                tag("a", "Compare the strategies", href=COMPARISONS_PATH),
                ": start a run on recent records of the line; ",
                figures.mark("b", "strategy", "text"),
                " is in use.",
            ),
            class_="actions",
        )
        + access
    )
