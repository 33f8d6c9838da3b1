"""Metroline beside packages and projects that share names with its rooms, and lines in packages of their own."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.support.environments import Environment, build, unpack

RULES = '[[rules]]\nafter = "source"\nto = "price"\n'
RECORDS = '{"amount": 2}\n{"amount": 3}\n'


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files below a folder; their texts are dedented."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))


@pytest.fixture
def openai_agents(environment: Environment) -> None:
    """Install a stand-in for openai-agents: another distribution whose import name is `agents`."""
    (environment.packages / "agents").mkdir()
    (environment.packages / "agents" / "__init__.py").write_text("class Agent:\n    name = 'a model'\n")
    (environment.packages / "openai_agents-1.0.dist-info").mkdir()
    (environment.packages / "openai_agents-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: openai-agents\nVersion: 1.0\n"
    )


@pytest.mark.usefixtures("openai_agents")
@pytest.mark.long
def test_a_line_uses_a_package_that_is_named_agents(environment: Environment, tmp_path: Path) -> None:
    write(
        tmp_path / "orders",
        {
            "routes.toml": RULES,
            "services.py": """
            from agents import Agent
            from metroline import service

            @service
            def price(record):
                return record | {"by": Agent.name}
        """,
            "one.json": '{"amount": 2}',
        },
    )

    ended = environment.run(
        "metroline", "explain", "orders/routes.toml", "orders/one.json", "--line", "orders", cwd=tmp_path
    )

    assert ended.returncode == 0, ended.stderr
    assert 'sets by="a model"' in ended.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with folders named like Metroline's, which its line uses."""
    folder = tmp_path / "project"
    write(
        folder,
        {
            "app/__init__.py": "",
            "app/prices.py": "PRICE = 10\n",
            "agents/__init__.py": "class Agent:\n    discount = 1\n",
            "routing/__init__.py": "TAX = 2\n",
            "lines/orders/routes.toml": RULES,
            "lines/orders/services.py": """
            from agents import Agent
            from app.prices import PRICE
            from metroline import service
            from routing import TAX

            @service
            def price(record):
                record["total"] = record["amount"] * PRICE + TAX - Agent.discount
                return record
        """,
            "one.json": '{"amount": 2}',
            "orders.jsonl": RECORDS,
        },
    )
    return folder


def test_a_project_with_folders_of_these_names_checks_and_explains(environment: Environment, project: Path) -> None:
    checked = environment.run("metroline", "check", "lines/orders/routes.toml", cwd=project, PYTHONPATH=str(project))
    assert checked.returncode == 0, checked.stderr
    assert "1 rule, 1 stop: valid" in checked.stdout

    explained = environment.run(
        *("metroline", "explain", "lines/orders/routes.toml", "one.json", "--line", "lines/orders"),
        cwd=project,
        PYTHONPATH=str(project),
    )
    assert "sets total=21" in explained.stdout, explained.stderr


@pytest.mark.long
def test_its_workers_run_in_the_projects_own_folder(environment: Environment, project: Path) -> None:
    ended = environment.run(
        *("metroline", "compare", "--line", "lines/orders", "--records", "orders.jsonl"),
        *("--strategies", "signpost", "--results", "results"),
        cwd=project,
        PYTHONPATH=str(project),
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = (project / "results" / "signpost.jsonl").read_text()
    assert '"total":21' in results.replace(" ", "")


@pytest.fixture
def installed_line(environment: Environment, tmp_path: Path) -> Path:
    """Return the folder of a line in an installed package, with relative imports."""
    write(
        tmp_path / "company",
        {
            "pyproject.toml": """
            [build-system]
            requires = ["setuptools"]
            build-backend = "setuptools.build_meta"
            [project]
            name = "company"
            version = "1.0"
            [tool.setuptools]
            packages = ["company", "company.orders"]
            [tool.setuptools.package-data]
            "*" = ["routes.toml"]
        """,
            "company/__init__.py": "",
            "company/customers.py": "NAMES = {1: 'Ada'}\n",
            "company/orders/__init__.py": "",
            "company/orders/prices.py": "PRICE = 10\n",
            "company/orders/routes.toml": RULES,
            "company/orders/records.py": """
            from .prices import PRICE

            def records(count, seed):
                for number in range(count):
                    yield {"amount": number * PRICE, "customer": 1}
        """,
            "company/orders/services.py": """
            from metroline import service

            from ..customers import NAMES
            from .prices import PRICE

            @service
            def price(record):
                return record | {"total": record["amount"] * PRICE, "name": NAMES[record["customer"]]}
        """,
        },
    )
    environment.install(unpack(build(tmp_path / "company", tmp_path / "wheels")))
    return environment.packages / "company" / "orders"


@pytest.mark.long
def test_a_line_in_a_package_of_its_own_runs_by_its_dotted_name(
    environment: Environment, installed_line: Path, tmp_path: Path
) -> None:
    table = installed_line / "routes.toml"
    checked = environment.run("metroline", "check", table, "--line", "company.orders", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "warning" not in checked.stdout

    compared = environment.run(
        *("metroline", "compare", "--records", "20", "--strategies", "signpost", "--results", "results"),
        cwd=tmp_path,
        LINE="company.orders",
    )
    assert compared.returncode == 0, compared.stdout + compared.stderr
    results = (tmp_path / "results" / "signpost.jsonl").read_text().splitlines()
    assert len(results) == 20
    assert all("Ada" in result for result in results)


def test_a_line_with_relative_imports_that_is_named_by_its_folder_is_told_its_package(
    environment: Environment, installed_line: Path, tmp_path: Path
) -> None:
    refused = environment.run("metroline", "check", installed_line / "routes.toml", cwd=tmp_path)

    assert refused.returncode == 2
    assert refused.stderr.endswith("has relative imports: name the line by its package (--line PACKAGE.orders)\n")
    assert len(refused.stderr.splitlines()) == 1
