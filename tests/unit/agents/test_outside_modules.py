"""Code outside of a line's folder is found: what the line imports, and what an error came through."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metroline.agents.services.line import Line
from metroline.agents.services.outside_modules import files_in, forget
from metroline.app.scaffold.new_line import make_line
from metroline.routing.errors import InvalidLine


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder of a line that imports a module beside it."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    make_line(tmp_path / "orders")
    services = tmp_path / "orders" / "services.py"
    services.write_text(f"import json\nimport shared_by_orders\n{services.read_text()}")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("_line_orders", "shared_by_orders"))]:
        del sys.modules[name]


def test_modules_beside_a_line_are_those_that_it_imports(folder: Path) -> None:
    shared = folder / "shared_by_orders.py"
    shared.write_text("import orjson\n")
    line = Line.load(str(folder / "orders"))
    assert line.outside == {"shared_by_orders": shared}
    assert not Line.load(str(folder / "orders")).outside, "it is imported already"
    forget(line.outside)
    assert Line.load(str(folder / "orders")).outside == line.outside


@pytest.mark.parametrize(
    ("code", "error"), [("def", "SyntaxError"), ("import nonsense_of_orders", "ModuleNotFoundError")]
)
def test_an_error_leads_to_the_file_outside_that_it_came_from(folder: Path, code: str, error: str) -> None:
    shared = folder / "shared_by_orders.py"
    shared.write_text(code)
    with pytest.raises(InvalidLine, match=error) as raised:
        Line.load(str(folder / "orders"))
    found = files_in(raised.value)
    assert shared in found
    assert {file.name for file in found if file.is_relative_to(folder)} == {"shared_by_orders.py", "services.py"}
    assert all("agents/services" not in str(file) for file in found)
