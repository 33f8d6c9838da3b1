"""Python environments with Metroline installed from its wheel, created without a download."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from tests.support.project import ROOT

SOURCES = (
    *("pyproject.toml", "README.md", "LICENSE", "metroline", "app", "agents", "routing"),
    *("editor", "scripts/editor_bundle.py"),
)
NOT_COPIED = ("__pycache__", "*.egg-info", "node_modules")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
SCRIPT = "#!{python}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
SCRIPTS = {"metroline": ("metroline.app.cli", "main"), "faust": ("faust.cli.faust", "cli")}


def build_project(folder: Path) -> Path:
    """Build the wheel of this project from a copy of its sources, and return its path."""
    copy = folder / "project"
    for name in SOURCES:
        source, target = ROOT / name, copy / name
        if source.is_dir():
            shutil.copytree(
                source,
                target,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "node_modules"),
            )
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return build(copy, folder / "wheels")


def build(project: Path, folder: Path) -> Path:
    """Build the wheel of a project with this environment's setuptools, and return its path."""
    folder.mkdir(exist_ok=True)
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=project,
        env=os.environ | {"METROLINE_EDITOR": "off"},  # which would be downloaded, unless it is bundled already
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / built.stdout.splitlines()[-1]


def unpack(wheel: Path) -> Path:
    """Unpack a wheel of pure Python and compile it, as pip does. Return the folder, which is next to the wheel."""
    folder = wheel.with_suffix("")
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    assert compileall.compile_dir(folder, quiet=1)
    return folder


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that finds its dependencies among the packages of the environment that runs the tests."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Environment:
        """Create an environment. This project's editable install is not visible in it."""
        venv.create(folder, with_pip=False, symlinks=True)
        environment = cls(folder)
        (environment.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
        for name, (module, function) in SCRIPTS.items():
            script = folder / "bin" / name
            script.write_text(SCRIPT.format(python=environment.python, module=module, function=function))
            script.chmod(0o755)
        return environment

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Return the folder of its installed packages."""
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.folder)}))

    def install(self, unpacked: Path) -> None:
        """Install a wheel that `unpack` has unpacked."""
        shutil.copytree(unpacked, self.packages, dirs_exist_ok=True)

    def run(self, *command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script or `python` of this environment."""
        program, *arguments = map(str, command)
        return subprocess.run(
            [str(self.folder / "bin" / program), *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": "", **variables},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
