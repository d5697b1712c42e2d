"""`clinical doctor`: what is installed and what is there, and the one command that mends what is missing."""

from __future__ import annotations

import json

import click

MARKS = {"ok": "ok      ", "missing": "missing ", "wrong": "WRONG   ", "note": "        "}


@click.command()
@click.option("--full", is_flag=True, help="Also load torch and the default system, and read a sentence.")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def doctor(ctx: click.Context, full: bool, format_: str) -> None:
    """Check this installation: packages, models, corpora, GPU, folders; never touches the network.

    For each thing that is missing it names the one command that mends it. The exit code is 0 when
    `clinical ner` can do its work, else 1.

    \b
    Examples:
      clinical doctor
      clinical doctor --full
      clinical doctor --format json
    """
    from clinical.commands.checks import check_all

    checks = check_all(full=full)
    is_ready = all(check.state == "ok" for check in checks if check.is_needed)
    if format_ == "json":
        rows = [check.as_dict() for check in checks]
        click.echo(json.dumps({"ready": is_ready, "checks": rows}, ensure_ascii=False, indent=2))
    else:
        group = ""
        for check in checks:
            if check.group != group:
                group = check.group
                click.echo(f"{group}")
            click.echo(f"  {MARKS[check.state]} {check.name}: {check.detail}".rstrip())
            if check.fix:
                click.echo(f"           -> {check.fix}")
        click.echo("clinical ner can work." if is_ready else "clinical ner cannot work yet: see above.")
    ctx.exit(0 if is_ready else 1)
