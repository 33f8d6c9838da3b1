"""Installs the peers one by one, where they could not be installed together: what fails is named and left out."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def install(pip: str) -> None:
    """With this pip, in the versions of requirements-bench.txt and no others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    common, locked = project["project"]["dependencies"], str(ROOT / "requirements-bench.txt")
    for wanted in (common, *([peer] for peer in project["dependency-groups"]["bench"])):
        command = [pip, "--disable-pip-version-check", "install", "--quiet", "--constraint", locked, *wanted]
        if subprocess.run(command, check=False).returncode:
            print(f"left out: {', '.join(wanted)} cannot be installed", file=sys.stderr)


if __name__ == "__main__":
    install(sys.argv[1])
