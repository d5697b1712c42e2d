"""`clinical corpora`: which corpora the project knows, which are here, and under which terms."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clinical.commands.tables import print_table
from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.corpora.catalog import Corpus


@click.group()
def corpora() -> None:
    """List the corpora that the project trains on and measures with.

    \b
    Examples:
      clinical corpora list
    """


@corpora.command("list")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_corpora(format_: str) -> None:
    """List every corpus: its task, whether it is here, whether it may train shipped weights, its terms.

    Corpora are looked for in the folder that the environment variable CLINICAL_CORPORA names.

    \b
    Examples:
      clinical corpora list
      CLINICAL_CORPORA=~/corpora clinical corpora list --format json
    """
    from clinical.corpora.catalog import CORPORA

    root = _folder()
    if format_ == "json":
        rows = [{**asdict(corpus), "found": _is_here(root, corpus)} for corpus in CORPORA]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    print_table(
        ("corpus", "task", "here", "training", "terms"),
        [
            (
                corpus.name,
                corpus.task,
                "found" if _is_here(root, corpus) else "missing",
                "yes" if corpus.may_train else "measures only",
                corpus.licence,
            )
            for corpus in CORPORA
        ],
    )
    click.echo(f"folder: {root or 'none; set CLINICAL_CORPORA to the one that holds ner/, qa/ …'}", err=True)


def _folder() -> Path | None:
    from clinical.corpora.folder import corpora_folder

    try:
        return corpora_folder()
    except UsageError:
        return None


def _is_here(root: Path | None, corpus: Corpus) -> bool:
    return root is not None and all((root / corpus.folder / file).is_file() for file in corpus.files)
