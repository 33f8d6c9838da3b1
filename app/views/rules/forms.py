"""The page of the rules with its forms: to change the table, to try a record, to publish, and to roll back."""

from __future__ import annotations

from faust import web
from msgspec import Struct

from metroline.agents.tables.publication import MAX_REASON
from metroline.app.markup.html import Markup, markup, moment, tag
from metroline.app.preview.forecasts import Check
from metroline.app.views.access.forms import FORM_TOKEN, OFF, form
from metroline.app.views.access.visitor import can_log_in, login_of
from metroline.app.views.rules.drafts import Draft
from metroline.app.views.rules.parts import (
    Answer,
    RulesDesk,
    ShownVersion,
    broken_forecast,
    rules_list,
    show_answer,
    show_diff,
    show_forecast,
    show_versions,
    warning,
)
from metroline.app.views.static_files import static_files

EDITOR_ROWS = 24

EDITOR = "rules_editor.js"
"""The editor, which is bundled when the package is built. Without it there is a plain text field."""


class PublishedAnswer(Struct, frozen=True):
    """The answer to a request to publish, as `metroline rules publish --json` has it."""

    published: bool
    """False if the table was the current one already."""
    version: int
    """The version of the table."""
    replaces: int | None
    warnings: list[str]


class RollbackPage(Struct, frozen=True):
    """An earlier version, with what publishing it again would change."""

    version: ShownVersion
    current: int
    lines: list[str]
    """The difference from the current version, as the lines of a unified diff."""
    text: str
    reason: str
    """The reason that is kept unless another one is given."""


def show(request: web.Request, desk: RulesDesk, draft: Draft, answer: Answer | None) -> Markup:
    """Return the page as HTML: the answer, if something was asked, the form, unused rules, and the versions."""
    parts = [] if answer is None else [tag("section", show_answer(answer), aria_label="Answer", role="status")]
    if not desk.version:
        parts.append(warning("No version yet. This worker routes nothing until there is one."))
    if desk.forecast is not None:
        parts.append(show_forecast(desk.forecast, _way_back(request, desk, desk.forecast)))
    parts += [
        _edit_form(request, draft, is_changed=draft.table != desk.text),
        rules_list(desk.rules, desk.counted_by),
        show_versions(desk.versions),
    ]
    return markup(parts)


def show_published(answer: PublishedAnswer) -> Markup:
    """Return the page after a table was published."""
    link = tag("a", f"version {answer.version}", href=f"/rules/{answer.version}/")
    if answer.published:
        told = ["Published: ", link, f" replaces version {answer.replaces}. The next decisions go by it."]
    else:
        told = ["Nothing was published: ", link, " is this table already."]
    return markup(
        [
            tag("p", told, role="status"),
            [warning(one) for one in answer.warnings],
            tag("p", tag("a", "Back to the rules", href="/rules/")),
        ]
    )


def _way_back(request: web.Request, desk: RulesDesk, check: Check) -> Markup:
    """Return the button that publishes the version before the current one again, with one click."""
    before = next((one.replaces for one in desk.versions if one.current), 0)
    if not before:
        return Markup()
    return form(
        request,
        f"/rules/{before}/rollback/",
        tag("input", type="hidden", name_="replaces", value=desk.version),
        tag("input", type="hidden", name_="reason", value=f"version {desk.version}: {broken_forecast(check)}"),
        tag("button", f"Roll back to version {before}", type="submit"),
        " ",
        tag("a", "See the changes first", href=f"/rules/{before}/rollback/"),
    )


def show_rollback(request: web.Request, page: RollbackPage, answer: Answer | None) -> Markup:
    """Return the page that asks before an earlier version is published again."""
    one = page.version
    facts = [f"Version {one.version} was published by {one.by}, ", moment(one.at), f": {one.why}" if one.why else None]
    preview = tag(
        "form",
        tag("input", type="hidden", name_="table", value=page.text),
        tag("input", type="hidden", name_="reason", value=page.reason),
        tag("input", type="hidden", name_="ask", value="preview"),
        tag("button", "Preview it first", type="submit"),
        method="post",
        action="/rules/",
    )
    return markup(
        [
            tag("section", show_answer(answer), aria_label="Answer") if answer is not None else None,
            tag("p", facts),
            tag("p", f"Its table becomes a new version, which replaces version {page.current}. No version is removed."),
            form(
                request,
                f"/rules/{one.version}/rollback/",
                tag("input", type="hidden", name_="replaces", value=page.current),
                _reason_field(page.reason),
                tag("p", tag("button", f"Roll back to version {one.version}", type="submit")),
                class_="desk",
            ),
            preview,
            tag("h2", f"Changes from the current version, {page.current}"),
            show_diff(page.lines),
        ]
    )


def _reason_field(reason: str) -> Markup:
    field = tag("input", name_="reason", id="reason", value=reason, maxlength=MAX_REASON, autocomplete="off")
    return tag("p", tag("label", "Reason, kept with the version", for_="reason"), field, class_="reason-field")


def _edit_form(request: web.Request, draft: Draft, *, is_changed: bool) -> Markup:
    login = login_of(request)
    table = tag(
        "textarea",
        # a browser takes the first line break of a textarea away
        Markup("\n"),
        draft.table,
        name_="table",
        id="table",
        rows=EDITOR_ROWS,
        spellcheck="false",
        aria_describedby="table-help",
    )
    record = tag("textarea", Markup("\n"), draft.record, name_="record", id="record", rows=4, spellcheck="false")
    told = (
        "The preview shows the problems of the table by line or, if it has none, the records about which it decides "
        "differently, and what it would change for the journeys, the dead letters and the records under way."
    )
    return tag(
        "form",
        None if login is None else tag("input", type="hidden", name_=FORM_TOKEN, value=login.form_token),
        tag("input", type="hidden", name_="replaces", value=draft.replaces),
        tag("input", type="hidden", name_="previewed", value=draft.previewed),
        tag("h2", tag("label", "Change the table", for_="table"), id="change"),
        tag("p", told, id="table-help"),
        table,
        tag("div", id="table-problems", class_="problems", role="status", aria_label="Problems of the table"),
        tag("p", tag("button", "Preview the changes", type="submit", name_="ask", value="preview")),
        tag("h2", tag("label", "Try a record", for_="record")),
        tag(
            "p",
            "A JSON object: its way by the table above, and by the current version. No service is called.",
            id="record-help",
        ),
        record,
        tag("p", tag("button", "Try the record", type="submit", name_="ask", value="record")),
        _publish_part(request, draft),
        method="post",
        action="/rules/",
        class_="desk",
        id="rules-form",
        aria_label="Rules table",
        data_check="/rules/check/",
        data_changed="" if is_changed else None,
        data_editor=f"/static/{EDITOR}" if EDITOR in static_files() else None,
    )


def _publish_part(request: web.Request, draft: Draft) -> Markup:
    """Return the fields by which a table is published, for whoever is logged in; others get the way to the login."""
    title = tag("h2", "Publish")
    if login_of(request) is None:
        way_in = tag("button", "Log in to publish", type="submit", formaction="/rules/publish/")
        return markup([title, tag("p", way_in if can_log_in(request) else OFF, class_="login")])
    told = (
        f"The table replaces version {draft.replaces} for the decisions that follow. It is refused if somebody else "
        "published meanwhile."
        if draft.previewed
        else "Before a table is published, its preview is shown."
    )
    button = tag("button", "Publish", type="submit", formaction="/rules/publish/")
    return markup([title, tag("p", told), _reason_field(draft.reason), tag("p", button)])
