"""The command `metroline`. An error is one line that says what to do.

Exit codes: 0 done, 1 the work failed, 2 wrong use.
"""

from __future__ import annotations

import errno
import importlib
import logging
import sys
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from metroline.app.cli.groups import CommandGroup
from metroline.app.cli.terminal import say_text
from metroline.app.logs import log_as_text
from metroline.routing.errors import InvalidCases, InvalidLineOptions, InvalidRules, MetrolineError


@dataclass(frozen=True, slots=True)
class Entry:
    """A command as `metroline --help` lists it, without loading its module."""

    module: str
    summary: str
    """First sentence of the command's own help."""


COMMANDS = {
    "demo": Entry("compare", "Compare the four strategies on the example line."),
    "compare": Entry("compare", "Compare the cost of the strategies on the same records."),
    "new": Entry("new", "Make a line that runs, with its tests."),
    "up": Entry("up", "Run a live line on this machine until Ctrl-C."),
    "worker": Entry("worker", "Run one worker process, as it is deployed."),
    "broker": Entry("broker", "Run the embedded broker alone until Ctrl-C."),
    "push": Entry("push", "Write records to the source topic of a line."),
    "cost": Entry("cost", "Show what a month of records costs on SQS, packed and not."),
    "check": Entry("check", "Validate the rules table in FILE and draw its network."),
    "explain": Entry("explain", "Explain the way of each record, rule by rule."),
    "test": Entry("test", "Test the cases of a line, in memory, under every strategy."),
    "trace": Entry("trace", "Tell the journey of a record, place by place."),
    "rules": Entry("rules", "Show, compare, publish and roll back the live rules table."),
    "dead-letters": Entry("dead_letters", "List, show, replay and discard dead letters."),
    "lookup": Entry("lookup", "Build and read the tables that services look things up in."),
    "doctor": Entry("doctor", "Examine what a worker needs, and say what is wrong."),
    "completion": Entry("completion", "Print the script that completes commands in a shell."),
    "hand-over": Entry("worker", "Hand over the offsets of a stopped line to other roles."),
}


class Commands(CommandGroup):
    """Loads a command's module when the command runs, and reports an error as one line with its exit code."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{COMMANDS[name].module}")
        command = getattr(module, name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from `COMMANDS`: `--help` loads none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin so. None of the commands is loaded."""
        named = [
            CompletionItem(name, help=entry.summary) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*named, *click.Command.shell_complete(self, context, incomplete)]

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (InvalidRules, InvalidLineOptions, InvalidCases) as error:
            _end(context, error.exit_code, *error.problems)
        except MetrolineError as error:
            _end(context, error.exit_code, f"error: {error}")
        except KeyboardInterrupt:
            _end(context, 1, "stopped")
        except OSError as error:  # above all where the standard output goes to a disk that is full
            if error.errno == errno.EPIPE:
                raise  # click ends the command without a word, as others end in a pipe
            _end(context, 1, f"error: {error}")
        except _kafka_errors() as error:
            _end(context, 1, f"error: Kafka says {type(error).__name__}: {error}")


def _end(context: click.Context, code: int, *lines: str) -> None:
    for line in lines:
        say_text(line, err=True)
    context.exit(code)


def _kafka_errors() -> tuple[type[Exception], ...]:
    """Return the base of aiokafka's errors; none if aiokafka, which takes long to import, is not loaded."""
    if "aiokafka" not in sys.modules:
        return ()
    from aiokafka.errors import KafkaError

    return (KafkaError,)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="metroline")
def cli() -> None:
    """Metroline: smart routing on a dumb bus. One rules table, four strategies, on Kafka.

    \b
    Example: metroline demo
    Every command has an example: metroline check --help
    """


def main() -> None:
    """Run the command. This is the console script."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # the error has what aiokafka logs of a failure
    log_as_text()
    cli(prog_name="metroline")
