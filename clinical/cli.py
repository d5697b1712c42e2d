"""The command `clinical`: one group, whose commands are imported when they are called and not before.

    clinical --help
    clinical ner note.txt

A command is one module of `clinical.commands` with one click command of the same name. Its module may
import click and the standard library at its top, nothing heavier: `clinical --help` reads them all and
answers at once.

Exit codes: 0 all done; 1 some documents failed, or something around them did; 2 the call itself was
wrong; 130 interrupted. A user's mistake is one line on stderr, never a traceback.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

from clinical.errors import ClinicalError, UsageError
from clinical.version import __version__

COMMANDS = (
    "ner", "search", "ask", "summarize", "compare", "evaluate", "finetune", "models", "corpora", "index", "doctor",
    "completion",
)  # fmt: skip
"""In the order of the help page."""


class LazyGroup(click.Group):
    """A group whose commands are modules of `clinical.commands`, and whose faults are one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, the main job first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, importing its module."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"clinical.commands.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn what the user can mend, and Ctrl-C, into one line and an exit code."""
        try:
            return super().invoke(ctx)
        except ClinicalError as error:
            raise (_WrongCall if isinstance(error, UsageError) else click.ClickException)(
                str(error)
            ) from error
        except KeyboardInterrupt as interrupt:
            # A batch that can be taken up again says so in the text of the interrupt.
            click.echo(f"\n{interrupt}" if str(interrupt) else "\nInterrupted.", err=True)
            ctx.exit(130)


class _WrongCall(click.ClickException):
    """Shown as one line, `Error: …`, like its parent."""

    exit_code = 2


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="clinical")
def cli() -> None:
    """Find, search and summarize what clinical notes say, on your own machine.

    Every answer points at exact characters of the document; nothing leaves the machine.

    \b
    Examples:
      clinical ner note.txt
      clinical ner notes/ -o out/
      clinical search "chest pain on exertion" notes/
      clinical doctor
    """
    from clinical.batch.messages import show_remarks

    show_remarks()


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    from clinical.batch.messages import hush_libraries

    hush_libraries()
    cli(prog_name="clinical")
