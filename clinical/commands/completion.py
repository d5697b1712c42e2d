"""`clinical completion`: the script that lets the shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print the script for shell completion.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes the shell complete the commands and options of `clinical`.

    \b
    Examples:
      clinical completion bash > ~/.local/share/bash-completion/completions/clinical
      clinical completion zsh > "${fpath[1]}/_clinical"
      clinical completion fish > ~/.config/fish/completions/clinical.fish
    """
    script = get_completion_class(shell)
    assert script is not None, "click completes every shell of SHELLS"
    click.echo(script(ctx.find_root().command, {}, "clinical", "_CLINICAL_COMPLETE").source())
