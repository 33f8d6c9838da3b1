"""The strategies: the complete list, and no code outside their module that branches on a strategy's name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from metroline.routing.errors import MetrolineError, UnknownStrategy
from metroline.routing.strategies import STRATEGIES, strategy_named
from tests.support.project import ROOT

FOUR = ("hard_wired", "conductor", "map_maker", "signpost")


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


@pytest.mark.parametrize("name", FOUR)
def test_a_strategy_is_found_by_its_name(name: str) -> None:
    assert strategy_named(name).name == name


@pytest.mark.parametrize("name", ["", "Conductor", "map-maker", "conductor ", "round_robin"])
def test_an_unknown_strategy_is_answered_with_those_that_exist(name: str) -> None:
    with pytest.raises(UnknownStrategy) as caught:
        strategy_named(name)
    assert str(caught.value).startswith(f"there is no strategy {name!r}; there are {', '.join(FOUR)}")
    assert isinstance(caught.value, MetrolineError)


def test_only_the_hard_wired_strategy_goes_without_a_published_table() -> None:
    assert [name for name, strategy in STRATEGIES.items() if not strategy.needs_live] == ["hard_wired"]


def asks_by_name(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that compare a value with the name of a strategy, or use the name as a key."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            asked = [node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            asked = node.args[1:]
        else:
            continue
        for one in (inner for part in asked for inner in ast.walk(part)):
            name = one.value if isinstance(one, ast.Constant) else one.id if isinstance(one, ast.Name) else None
            if name in FOUR or name in {type(strategy).__name__ for strategy in STRATEGIES.values()} - {"Conductor"}:
                yield node.lineno


@pytest.mark.parametrize(
    "text",
    [
        "if strategy == 'map_maker': pass",
        "x = 'conductor' != strategy.name",
        "x = name in ('signpost', 'hard_wired')",
        "match name:\n    case 'signpost': pass",
        "isinstance(strategy, HardWired)",
    ],
)
def test_a_question_for_the_strategy_would_be_found(text: str) -> None:
    assert list(asks_by_name(ast.parse(text)))


def test_nothing_outside_of_its_module_asks_which_strategy_is_on() -> None:
    asked = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources("routing", "agents", "app")
        if path != ROOT / "routing" / "strategies.py"
        for line in asks_by_name(parsed(path))
    ]
    assert asked == []


ALLOWED = {
    *(
        "__future__",
        "abc",
        "base64",
        "collections",
        "copy",
        "dataclasses",
        "difflib",
        "enum",
        "functools",
        "hashlib",
        "inspect",
    ),
    *("itertools", "json", "math", "operator", "re", "reprlib", "textwrap", "tomllib", "traceback", "types", "typing"),
    "struct",
    *("cel_expr_python", "msgspec", "orjson", "pydantic", "pyroaring"),
}
"""Modules that the core may import: none does I/O, reads the environment or a clock, or draws random numbers."""

BUILTINS = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


@pytest.mark.parametrize("path", sources("routing"), ids=lambda path: path.name)
def test_the_core_does_no_io_and_reads_no_clock(path: Path) -> None:
    tree = parsed(path)
    foreign = {name for name in imported(tree) if not name.startswith("metroline.routing")}
    assert {name.partition(".")[0] for name in foreign} <= ALLOWED
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & BUILTINS
