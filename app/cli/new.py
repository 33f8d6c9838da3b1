"""`metroline new`: a line that runs."""

from __future__ import annotations

from pathlib import Path

import click

from metroline.app.cli.own_commands import metroline_command, python_command, typed
from metroline.app.cli.terminal import say
from metroline.app.scaffold.new_line import make_line, make_project


@click.command()
@click.argument("name", type=click.Path(path_type=Path))
@click.option(
    "--package",
    "is_package",
    is_flag=True,
    help="Make a Python project: a package with the line, its tests, and a pyproject.toml. Default: a folder.",
)
def new(name: Path, is_package: bool) -> None:
    """Make a line that runs, with its tests.

    NAME is the name of the line, and of the folder that is created; it may be a path. A name has lower-case letters,
    digits, - and _. The line has services.py, routes.toml, line.toml, records.jsonl, its test
    cases (cases.toml), tests in Python and a README. Nothing is overwritten.

    \b
    Example: metroline new orders
             metroline up --line orders --reload
    """
    made = make_project(name) if is_package else make_line(name)
    say(f"{made.folder} has {', '.join(map(str, made.files))}")
    line, folder = str(made.line), str(made.folder)
    say(f"check it:  {typed(*metroline_command(), 'check', line)}")
    say(f"test it:   {typed(*metroline_command(), 'test', line)}")
    say(f"           {typed(*python_command(), '-m', 'pytest', folder)}  (pip install pytest)")
    say(f"run it:    {typed(*metroline_command(), 'up', '--line', line, '--reload')}")
