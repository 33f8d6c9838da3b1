"""`--help`: every command has an example and describes its options; the list of commands imports none of them."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from metroline.app.cli import COMMANDS, cli


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    """Yield the names of a command and of all commands below it."""
    yield names
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, *names, name)


@pytest.mark.parametrize("names", list(commands(cli)), ids=" ".join)
def test_help_has_an_example_and_no_sentence_that_is_cut_off(names: tuple[str, ...]) -> None:
    told = CliRunner().invoke(cli, [*names, "--help"]).output

    assert "\n  Example: " in told
    assert " ".join(["metroline", *names]) in told.partition("Example: ")[2]
    assert "..." not in told.partition("Commands:")[2]


@pytest.mark.parametrize("names", list(commands(cli)), ids=" ".join)
def test_every_option_says_what_it_is_for(names: tuple[str, ...]) -> None:
    command: click.Command = cli
    for name in names:
        assert isinstance(command, click.Group)
        below = command.get_command(click.Context(command), name)
        assert below is not None
        command = below
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_has_the_first_sentence_of_the_commands_own_help(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(limit=200) == COMMANDS[name].summary


def test_the_list_of_commands_is_complete_and_in_one_line_each() -> None:
    listed = CliRunner().invoke(cli, ["--help"]).output.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert all(line.endswith(COMMANDS[name].summary) for name, line in zip(COMMANDS, listed, strict=True))
