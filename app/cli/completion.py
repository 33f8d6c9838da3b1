"""`metroline completion`: the script by which a shell completes commands, options and files."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from metroline.app.cli.terminal import write_out

VARIABLE = "_METROLINE_COMPLETE"
"""The variable by which the script asks the command; click derives it from the command's name."""

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands in a shell.

    Add the first of these lines to ~/.bashrc, the second to ~/.zshrc, or run the third once. Bash 4.4 or newer is
    needed.

    \b
    Example: eval "$(metroline completion bash)"
             eval "$(metroline completion zsh)"
             metroline completion fish > ~/.config/fish/completions/metroline.fish
    """
    shells = get_completion_class(shell)
    assert shells is not None
    group = click.get_current_context().find_root().command
    write_out(ShellComplete.source(shells(group, {}, "metroline", VARIABLE)).lstrip())
