"""Bundles the editor of the page `/rules/` from `editor/` with npm: `make editor`, and when a wheel is built.

Without the bundle the page has a plain text field in its place. So a checkout needs no npm, and nothing is fetched when
a worker runs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.parent

SOURCES = ROOT / "editor"

BUNDLE = ROOT / "metroline" / "app" / "views" / "static" / "rules_editor.js"

FILES = (".npmrc", "build.js", "package-lock.json", "package.json", "rules_editor.js", "toml_with_cel.js")
"""The sources, from which the mark of the bundle is made."""

SECONDS = 300.0
"""Time that npm may take."""

SETTING = "METROLINE_EDITOR"
"""The environment variable that says whether a build must have the editor: `required`, `off`, or `auto` (default)."""


class NoBundle(Exception):
    """Raised when the editor cannot be bundled; the text says why."""


def mark() -> str:
    """Return the mark of the sources as they are, with which a bundle of them begins."""
    digest = hashlib.sha256()
    for name in FILES:
        content = (SOURCES / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return f"made from editor/, sha256 {digest.hexdigest()}"


def is_current() -> bool:
    """Return whether there is a bundle of the sources as they are."""
    try:
        with BUNDLE.open(encoding="utf-8") as file:
            return file.readline().strip() == f"/* {mark()} */"
    except FileNotFoundError:
        return False


def bundle() -> None:
    """Write the bundle, unless it is current. Raise `NoBundle` without npm, and if npm or the bundler fails."""
    if is_current():
        return
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise NoBundle("npm and Node.js 18 or newer are needed: install them, then run `make editor`")
    with tempfile.TemporaryDirectory(prefix="metroline-editor-") as folder:
        for name in FILES:
            shutil.copy(SOURCES / name, folder)
        _run([npm, "ci"], folder)
        _run([node, "build.js", str(BUNDLE), mark()], folder)


def bundle_for_build() -> None:
    """Write the bundle as `METROLINE_EDITOR` says. Raise `NoBundle` if it is required and cannot be made."""
    setting = os.environ.get(SETTING, "auto")
    if setting not in ("auto", "off", "required"):
        raise NoBundle(f"{SETTING} is {setting!r}, none of auto, off, required")
    if setting == "off":
        return
    try:
        bundle()
    except NoBundle as error:
        if setting == "required":
            raise
        print(f"the page /rules/ has a plain text field in place of its editor: {error}", file=sys.stderr)


def _run(command: list[str], folder: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise NoBundle(f"`{Path(command[0]).name} {command[1]}` took longer than {SECONDS:g} s") from None
    if done.returncode:
        told = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()] or ["no message"]
        raise NoBundle(f"`{Path(command[0]).name} {command[1]}` failed: {told[0]}")


class BuildWithEditor(build_py):  # type: ignore[misc]  # setuptools has no types
    """The step of setuptools that collects the files of a wheel: the bundle has to be there before.

    An editable installation is left alone, since it collects no files.
    """

    def run(self) -> None:
        """Bundle the editor, then collect the files."""
        if not self.editable_mode:
            bundle_for_build()
        super().run()


def main() -> None:
    """Bundle the editor; with `--if-possible`, a problem is told and is no failure."""
    parser = argparse.ArgumentParser(description="Bundle the editor of the page /rules/ with npm.")
    parser.add_argument("--if-possible", action="store_true", help="exit with 0 if it cannot be bundled, too")
    arguments = parser.parse_args()
    try:
        if arguments.if_possible:
            bundle_for_build()
        else:
            bundle()
    except NoBundle as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
