"""The README and docs/ name every command, strategy and parameter; links resolve, and code blocks compile."""

from __future__ import annotations

import html
import inspect
import json
import re
import tomllib
from pathlib import Path

import click
import pytest

from metroline import service
from metroline.app.cli import cli
from metroline.routing.errors import ConditionError
from metroline.routing.rules.cel.evaluation import Program
from metroline.routing.rules.cel.functions import FUNCTIONS
from metroline.routing.rules.cel.syntax_tree import parse
from metroline.routing.rules.cel.values import Budget
from metroline.routing.rules.condition import MAX_CONDITION_CHARACTERS, MAX_OPERATIONS, Condition
from metroline.routing.rules.toml_reader import MAX_RULES, read_rules
from metroline.routing.rules.toml_text import MAX_CHARACTERS
from metroline.routing.strategies import STRATEGIES
from tests.support.pages import PAGES, README, Page, page

EVERYTHING = "\n".join(one.text for one in PAGES)
PARAMETERS = inspect.signature(service).parameters.values()
SURPRISE = re.compile(
    r"^\| (?:`|<code>)(?P<condition>.+?)(?:`|</code>) \| `(?P<record>\{.*?\})` \| (?P<answer>[a-z_ ]+)[^|]*\|$",
    re.MULTILINE,
)


def commands(group: click.Group, *names: str) -> list[str]:
    """Return the names of all commands below a group, as they are typed."""
    found = []
    context = click.Context(group)
    for name in group.list_commands(context):
        below = group.get_command(context, name)
        found += commands(below, *names, name) if isinstance(below, click.Group) else [" ".join([*names, name])]
    return found


def each(pages: list[Page]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


def test_the_readme_has_less_than_200_lines() -> None:
    assert len(README.text.splitlines()) < 200


@pytest.mark.parametrize("command", commands(cli))
def test_every_command_is_named(command: str) -> None:
    assert re.search(rf"(metroline|make) {command}\b", EVERYTHING)


@pytest.mark.parametrize("command", cli.list_commands(click.Context(cli)))
def test_every_command_is_in_the_table_of_commands(command: str) -> None:
    assert f"| `metroline {command}` |" in page("getting-started.md").text


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_in_the_table(strategy: str) -> None:
    assert f"| `{strategy}` |" in README.text


@pytest.mark.parametrize(
    "parameter", [one for one in PARAMETERS if one.kind is one.KEYWORD_ONLY], ids=lambda one: one.name
)
def test_every_parameter_of_service_is_in_its_table_with_its_default(parameter: inspect.Parameter) -> None:
    row = re.search(
        rf"^\| `{parameter.name}` \| [^|]+ \| (?P<default>[^|]+) \| [^|]+ \|$", page("services.md").text, re.M
    )
    assert row, f"docs/services.md has no row for {parameter.name}"
    if parameter.default is not None:
        assert row["default"] == f"`{parameter.default!r}`"


def test_every_parameter_in_the_table_of_service_exists() -> None:
    table = page("services.md").text.partition("## The parameters of `@service`")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == {one.name for one in PARAMETERS} - {"handler"}


@pytest.mark.parametrize(
    "surprise", list(SURPRISE.finditer(page("rules.md").text)), ids=lambda found: found["condition"] + found["record"]
)
def test_every_surprise_of_a_condition_is_one(surprise: re.Match[str]) -> None:
    answer = surprise["answer"].strip().removesuffix(" either")
    assert answer in ("holds", "does not hold", "rule_error", "refused"), answer
    assert answer_of(html.unescape(surprise["condition"]), surprise["record"]) == answer


def answer_of(text: str, record: str) -> str:
    """Return the result of a condition for a record, in the words of docs/rules.md."""
    try:
        condition = Condition.compile(text)
    except ConditionError:
        return "refused"
    try:
        return "holds" if condition.holds(json.loads(record)) else "does not hold"
    except ConditionError:
        return "rule_error"


FUNCTION_ROW = re.compile(r"^\| `(?P<name>\w+)` \| [^|]+ \| [^|]+ \| `(?P<example>[^`]+)` \|$", re.M)


def test_the_table_of_functions_has_each_of_them_with_an_example_that_holds() -> None:
    table = page("rules.md").text.partition("### Functions")[2].partition("\n### ")[0]
    examples = {found["name"]: found["example"] for found in FUNCTION_ROW.finditer(table)}
    assert examples.keys() == FUNCTIONS.keys()
    for name, example in examples.items():
        assert f"{name}(" in example
        assert Program.of(parse(example)).evaluate({}, {}, Budget(10_000)) is True, example


def test_the_bounds_of_a_table_are_those_of_the_program() -> None:
    bounds = " ".join(page("rules.md").text.partition("### A budget")[2].partition("\n### ")[0].split())
    assert f"at most {MAX_OPERATIONS:,} operations" in bounds
    assert f"at most {MAX_CHARACTERS:,} characters and {MAX_RULES:,} rules" in bounds
    assert f"a condition at most {MAX_CONDITION_CHARACTERS:,} characters" in bounds


def test_no_row_of_the_surprises_is_left_out() -> None:
    surprises = page("rules.md").text.partition("## Surprises")[2].partition("\n## ")[0]
    rows = [row for row in surprises.splitlines() if row.startswith(("| `", "| <code>"))]
    assert len(rows) == len(SURPRISE.findall(surprises)) > 40


@each(PAGES)
def test_every_relative_link_leads_somewhere(page: Page) -> None:
    for path, anchor in page.links:
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), f"{page.name} links to {path}, which does not exist"
        if anchor:
            assert anchor in Page(target).anchors, f"{page.name} links to {path}#{anchor}, which does not exist"


@each([one for one in PAGES if one is not README])
def test_a_page_links_to_pages_of_docs_only(page: Page) -> None:
    assert [path for path, _ in page.links if path.startswith("..")] == []


@each(PAGES)
def test_blocks_of_code_are_read_by_their_language(page: Page) -> None:
    for block in page.blocks:
        where = f"{page.name}:{block.line}"
        if block.language == "python":
            compile(block.text, where, "exec")
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            read_json(block.text)
        if block.file is not None and Path(block.file).name == "routes.toml":
            assert read_rules(block.text, where)


def read_json(text: str) -> None:
    """Raise `ValueError` for text that is neither JSON nor JSON lines."""
    try:
        json.loads(text)
    except ValueError:
        for line in text.splitlines():
            json.loads(line)


@each(PAGES)
def test_a_block_is_marked_in_a_form_that_mkdocs_shows_as_code(page: Page) -> None:
    for block in page.blocks:
        assert re.fullmatch(r'(\{\.\w+\})?(title="[^"]+")?', block.info), f"{page.name}:{block.line}: {block.info}"


@each(PAGES)
def test_nothing_is_left_to_be_filled_in(page: Page) -> None:
    assert re.search(r"\bTODO\b|\bTBD\b|\bFIXME\b|\bXXX\b|lorem", page.text) is None
