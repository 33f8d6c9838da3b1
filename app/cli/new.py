"""`metroline new`: a line that runs."""

from __future__ import annotations

from pathlib import Path

import click

from metroline.app.cli.options import json_option, write_json
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
@json_option("the files that were made, and the commands that go on with them,")
def new(name: Path, is_package: bool, json_file: Path | None) -> None:
    """Make a line that runs, with its tests.

    NAME is the name of the line, and of the folder that is created; it may be a path. A name has lower-case letters,
    digits, - and _. The line has services.py, routes.toml, line.toml, records.jsonl, its test
    cases (cases.toml), tests in Python and a README. Nothing is overwritten.

    \b
    Example: metroline new orders
             metroline up --line orders --reload
    """
    made = make_project(name) if is_package else make_line(name)
    line, folder, files = str(made.line), str(made.folder), [str(file) for file in made.files]
    check = typed(*metroline_command(), "check", line)
    test = typed(*metroline_command(), "test", line)
    pytest = typed(*python_command(), "-m", "pytest", folder)
    run = typed(*metroline_command(), "up", "--line", line, "--reload")
    if json_file is not None:
        commands = {"check": check, "test": test, "pytest": pytest, "run": run}
        write_json({"folder": folder, "line": line, "files": files, "commands": commands}, json_file)
        return
    say(f"{folder} has {', '.join(files)}")
    say(f"check it:  {check}", f"test it:   {test}", f"           {pytest}  (pip install pytest)", f"run it:    {run}")
