"""The editor of the page `/rules/` is bundled where npm is there, and everything works without it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import editor_bundle
from scripts.editor_bundle import BUNDLE, FILES, SETTING, SOURCES, NoBundle, bundle, bundle_for_build, is_current, mark
from tests.support.project import ROOT

LOCK = json.loads((SOURCES / "package-lock.json").read_text("utf-8"))

needs_bundle = pytest.mark.skipif(
    not BUNDLE.exists() and not os.environ.get("CI"), reason="the editor is not bundled: run `make editor`"
)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the place of a bundle that is not there yet."""
    monkeypatch.setattr(editor_bundle, "BUNDLE", tmp_path / "rules_editor.js")
    return tmp_path / "rules_editor.js"


def commands(monkeypatch: pytest.MonkeyPatch, made: Callable[[list[str]], int], stderr: str = "") -> list[list[str]]:
    """Replace npm and node; return the list of the commands that were given."""
    given: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        given.append(command)
        return subprocess.CompletedProcess(command, made(command), "", stderr)

    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(subprocess, "run", run)
    return given


def write_bundle(command: list[str]) -> int:
    if command[0] == "/bin/node":
        Path(command[2]).write_text(f"/* {command[3]} */\n", "utf-8")
    return 0


@needs_bundle
def test_the_bundle_is_made_from_the_sources_as_they_are() -> None:
    assert is_current(), "run `make editor`"


@needs_bundle
def test_the_bundle_fetches_nothing_and_evaluates_nothing() -> None:
    text = BUNDLE.read_text("utf-8")
    code, _, licences = text.partition("/*! This file contains:")
    assert not re.search(r"https?://(?!www\.w3\.org/)", code)
    assert not re.search(r"\beval\(|new Function\(|\bimport\(|document\.write|innerHTML", code)
    for name in LOCK["packages"][""]["dependencies"]:
        version = LOCK["packages"][f"node_modules/{name}"]["version"]
        assert f"\n{name} {version} (MIT)\n" in licences


@needs_bundle
@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_bundle_is_a_module_with_the_editor() -> None:
    checked = subprocess.run(["node", "--check", "--input-type=module"], input=BUNDLE.read_bytes(), check=False)
    assert checked.returncode == 0
    assert re.search(r"export\{\w+ as edit\};", BUNDLE.read_text("utf-8"))


def test_the_lock_file_pins_every_package_by_its_hash_and_names_no_registry() -> None:
    for name, package in LOCK["packages"].items():
        assert "resolved" not in package
        assert not name or package["integrity"].startswith("sha512-"), name
    assert "http" not in (SOURCES / "package-lock.json").read_text("utf-8").replace("https://opencollective", "")
    assert "omit-lockfile-registry-resolved=true" in (SOURCES / ".npmrc").read_text("utf-8")


def test_all_sources_are_in_the_mark_of_the_bundle() -> None:
    assert {one.name for one in SOURCES.iterdir() if one.is_file()} == {*FILES}


def test_nothing_that_is_bundled_is_kept_in_git() -> None:
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert f"/{BUNDLE.relative_to(ROOT / 'metroline')}" in ignored
    assert "/editor/node_modules/" in ignored


def test_a_wheel_is_built_with_the_step_that_bundles() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    module, _, name = project["tool"]["setuptools"]["cmdclass"]["build_py"].rpartition(".")
    assert (module, name) == (editor_bundle.__name__, editor_bundle.BuildWithEditor.__name__)


def test_the_bundle_is_made_with_npm_from_a_copy_and_only_once(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = commands(monkeypatch, write_bundle)
    bundle()
    assert [command[:2] for command in given] == [["/bin/npm", "ci"], ["/bin/node", "build.js"]]
    assert elsewhere.read_text("utf-8") == f"/* {mark()} */\n"
    bundle()
    assert len(given) == 2


def test_without_npm_a_build_goes_on_unless_the_editor_is_required(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.delenv(SETTING, raising=False)
    bundle_for_build()
    assert "plain text field in place of its editor: npm and Node.js 18" in capsys.readouterr().err
    monkeypatch.setenv(SETTING, "required")
    with pytest.raises(NoBundle, match="npm and Node"):
        bundle_for_build()
    monkeypatch.setenv(SETTING, "off")
    bundle_for_build()
    monkeypatch.setenv(SETTING, "yes")
    with pytest.raises(NoBundle, match="'yes', none of auto, off, required"):
        bundle_for_build()
    assert not elsewhere.exists()


def test_what_npm_complains_of_is_told(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands(monkeypatch, lambda _: 1, "npm error network\nnpm error more")
    with pytest.raises(NoBundle, match="`npm ci` failed: npm error network"):
        bundle()
    assert not elsewhere.exists()
