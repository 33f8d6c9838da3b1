"""The line that the README shows is written down and run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration.cli.test_compare import metroline
from tests.support.project import ROOT

README = (ROOT / "README.md").read_text("utf-8")
FILE = re.compile(r"```\w+ file=(\S+)\n(.*?)```", re.DOTALL)
RUN = re.compile(r"```sh run\n(.*?)```", re.DOTALL)


def test_the_readmes_own_line_checks_explains_and_compares(tmp_path: Path) -> None:
    files = FILE.findall(README)
    assert {name for name, _ in files} >= {"orders/services.py", "orders/routes.toml", "orders/orders.jsonl"}
    for name, text in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    commands = [line for block in RUN.findall(README) for line in block.splitlines() if line]
    said = {}
    for command in commands:
        program, *arguments = command.split("#")[0].split()
        assert program == "metroline"
        ended = metroline(*arguments, cwd=tmp_path)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        said[arguments[0]] = ended.stdout
    assert "3 rules, 2 stops: valid" in said["check"]
    assert said["explain"].rstrip().endswith("delivered")
    assert "same outcome: every record went the same way under 4 strategies" in said["compare"]
