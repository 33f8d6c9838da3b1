"""Makes the files of a new line: in a folder, or as a Python project of its own."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from string import Template

from metroline.routing.errors import MetrolineError, UsageError

TEMPLATES = Path(__file__).parent / "templates"
SUFFIX = ".template"

NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}\Z")
"""A name that a folder, the prefix of topics and, with underscores, a Python package may have."""

LINE_FILES = ("services.py", "routes.toml", "line.toml", "records.jsonl", "cases.toml", "README.md")
TEST_FILE = "test_line.py"


class InvalidName(UsageError):
    """Raised when a new line cannot have the name that was given."""


class LineExists(MetrolineError):
    """Raised when something is in the way of the files of a new line. Nothing is overwritten."""


@dataclass(frozen=True, slots=True)
class NewLine:
    """A line that was made."""

    folder: Path
    """The folder that was created: that of the line, or that of the project."""
    line: Path
    """The folder of the line."""
    files: tuple[Path, ...]
    """All files, relative to `folder`, sorted."""


def make_line(where: Path) -> NewLine:
    """Make a line in the folder `where`, which must not exist or be empty, and which the line is named after.

    Raise `InvalidName` or `LineExists`.
    """
    name = _checked(where, "the line")
    return _written(where, where, dict(_files(name, ".")) | _test(name, "Path(__file__).parent"))


def make_project(where: Path) -> NewLine:
    """Make a project in the folder `where`: a package with the line, its tests, a README and a pyproject.toml.

    Raise `InvalidName` or `LineExists`.
    """
    project = _checked(where, "the project")
    name = _package(project)
    files = {f"{name}/{file}": text for file, text in _files(name, name)}
    files |= {f"tests/{file}": text for file, text in _test(name, f'Path(__file__).parents[1] / "{name}"').items()}
    files |= {f"{name}/__init__.py": f'"""The line {name}."""\n'}
    files |= {"README.md": files.pop(f"{name}/README.md")}
    files |= {"pyproject.toml": _filled("pyproject.toml", name=name, project=project)}
    return _written(where, where / name, files)


def _checked(where: Path, what: str) -> str:
    """Return the name of a new folder, or raise `InvalidName` or `LineExists` if it cannot be made."""
    name = where.name
    if not NAME.match(name):
        raise InvalidName(
            f"{what} cannot be named {name!r}: a name has at most 50 lower-case letters, digits, - and _, and starts "
            "with a letter"
        )
    if where.exists() and not (where.is_dir() and not any(where.iterdir())):
        raise LineExists(f"{where} exists and is not empty: choose another name, or remove it")
    return name


def _package(project: str) -> str:
    """Return the name of a project's package, or raise `InvalidName` if it would be confused with something else."""
    name = project.replace("-", "_")
    if keyword.iskeyword(name):
        raise InvalidName(f"a package cannot be named {name!r}, which is a word of Python: choose another name")
    if find_spec(name) is not None:
        raise InvalidName(f"there is a package {name!r} in this Python already: choose another name")
    return name


def _files(name: str, line: str) -> Iterator[tuple[str, str]]:
    """Yield the files of a line and their texts; `line` is its folder as seen from the README."""
    for file in LINE_FILES:
        yield file, _filled(file, name=name, line=line)


def _test(name: str, folder: str) -> dict[str, str]:
    """Return the file of tests; `folder` is the Python expression for the folder of the line."""
    return {TEST_FILE: _filled(TEST_FILE, name=name, folder=folder)}


def _filled(file: str, **values: str) -> str:
    return Template((TEMPLATES / f"{file}{SUFFIX}").read_text("utf-8")).substitute(values)


def _written(folder: Path, line: Path, files: dict[str, str]) -> NewLine:
    """Write files below a folder. Raise `LineExists` if that is not possible."""
    try:
        for file, text in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise LineExists(f"{folder} cannot be created: {error.strerror}") from error
    return NewLine(folder, line, tuple(sorted(Path(file) for file in files)))
