"""Files and commands on a page of the documentation work as shown, and print the output that the page shows."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path

import pytest

from metroline.app.local.ports import free_port
from tests.support.pages import PAGES, Block, Page
from tests.support.waiting import wait_until

WEB_PORT = "6066"
BROKER = re.compile(r"kafka://127\.0\.0\.1:(\d+)")
COMMAND_SECONDS = 240
"""Time limit for the commands of one block, in seconds."""

COMMANDS = frozenset({"run", "until", "start"})

LONG_PAGES = frozenset({"docs/tutorial.md"})
"""Pages whose commands take a minute or more."""

RUN_PAGES = [
    pytest.param(page, marks=pytest.mark.long if page.name in LONG_PAGES else (), id=page.name)
    for page in PAGES
    if any(block.mark in COMMANDS for block in page.blocks)
]


class Reader:
    """A reader who follows a page: writes its files, and types its commands into terminals in one folder."""

    def __init__(self, folder: Path, terminals: ExitStack) -> None:
        self.folder = folder
        self.terminals = terminals
        self.exports: list[str] = []
        self.ports = {WEB_PORT: str(free_port())}
        """Map the ports that the page names to the ports that are used instead."""
        bin = Path(sys.executable).parent
        self.environment = {
            **os.environ,
            "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}",
            "LOOKUP_DIR": str(folder / ".lookups"),
            "COLUMNS": "160",
        }

    def write(self, block: Block) -> None:
        assert block.file is not None
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")

    def run(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Run the commands of a block, after the exports of the blocks before it."""
        script = self._script(block)
        command = ["bash", "-euc", "\n".join([*self.exports, script])]
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                printed, _ = process.communicate(timeout=COMMAND_SECONDS)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        self.exports += [line for line in script.splitlines() if line.startswith("export ")]
        return subprocess.CompletedProcess(command, process.returncode, printed)

    def start(self, block: Block) -> None:
        """Start a command in a terminal of its own, and return once it has printed the address of its broker."""
        output = self.folder / ".terminal"
        process = self.terminals.enter_context(running(self._script(block), self.folder, self.environment, output))

        def is_up() -> bool:
            assert process.poll() is None, output.read_text("utf-8")
            return BROKER.search(output.read_text("utf-8")) is not None

        wait_until(is_up, timeout=180)
        found = BROKER.search(output.read_text("utf-8"))
        assert found is not None
        self.ports["PORT"] = found[1]

    def _script(self, block: Block) -> str:
        return re.sub("|".join(map(re.escape, self.ports)), lambda found: self.ports[found[0]], block.text)


@contextmanager
def running(command: str, folder: Path, environment: dict[str, str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the end of the block, and end it as Ctrl-C does."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            shlex.split(command), cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            exit_code = process.wait(timeout=120)
        finally:
            process.kill()
    assert exit_code == 0, output.read_text("utf-8")


def missing(shown: str, printed: str) -> str | None:
    """Return the first line of `shown` that `printed` lacks after the lines before it; None if it has all of them."""
    lines = iter([" ".join(line.split()) for line in printed.splitlines()])
    for line in filter(None, (" ".join(line.split()) for line in shown.splitlines())):
        wanted = re.compile(".*".join(re.escape(part.strip()) for part in line.split("…")))
        if not any(wanted.fullmatch(one) for one in lines):
            return line
    return None


@pytest.mark.timeout(600)  # on a busy machine; a page has up to a dozen commands, and some start brokers and workers
@pytest.mark.parametrize("page", RUN_PAGES)
def test_what_a_page_shows_runs_and_prints_what_the_page_says(page: Page, tmp_path: Path) -> None:
    blocks = page.blocks
    with ExitStack() as terminals:
        reader = Reader(tmp_path, terminals)
        for block in blocks:
            if block.file is not None:
                reader.write(block)
        for block, following in zip_longest(blocks, blocks[1:]):
            shown = following.text if following is not None and following.mark == "output" else ""
            if block.mark == "start":
                reader.start(block)
            elif block.mark == "run":
                follow(reader, page, block, shown)
            elif block.mark == "until":
                wait_until(lambda block=block, shown=shown: has_come(reader, block, shown), timeout=180)  # type: ignore[misc]


def follow(reader: Reader, page: Page, block: Block, shown: str) -> None:
    """Run a block once; fail with the line of the page if the block fails or does not print the output shown."""
    done = reader.run(block)
    assert done.returncode == 0, f"{page.name}:{block.line}: exit code {done.returncode}\n{done.stdout}"
    line = missing(shown, done.stdout)
    assert line is None, f"{page.name}:{block.line} does not print this line:\n{line}\nbut this:\n{done.stdout}"


def has_come(reader: Reader, block: Block, shown: str) -> bool:
    done = reader.run(block)
    return done.returncode == 0 and missing(shown, done.stdout) is None
