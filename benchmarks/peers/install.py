"""Installs the peers' packages one by one, if they could not be installed together, and names those that fail.

A peer that lacks one of its packages is left out of the run, with the reason.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

LOCKED = Path(__file__).parents[2] / "requirements-bench.txt"


def packages(text: str) -> Iterator[str]:
    """Yield each package of a requirements file with its version and its hashes, without comments."""
    block: list[str] = []
    for line in text.splitlines():
        if line[:1].strip() and not line.startswith("#"):
            if block:
                yield "\n".join(block)
            block = [line]
        elif line.strip().startswith("--hash"):
            block.append(line)
    if block:
        yield "\n".join(block)


def install(pip: str) -> None:
    """Install each locked package with the given pip; print those that cannot be installed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        for package in packages(LOCKED.read_text("utf-8")):
            file.write_text(package + "\n", "utf-8")
            command = [pip, "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--require-hashes"]
            if subprocess.run([*command, "-r", str(file)], check=False).returncode:
                print(f"left out: {package.split()[0]} cannot be installed", file=sys.stderr)


if __name__ == "__main__":
    install(sys.argv[1])
