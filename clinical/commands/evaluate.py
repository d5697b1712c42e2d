"""`clinical evaluate`: how good the systems are, against a gold standard; one module for each task."""

from __future__ import annotations

import click

from clinical.commands.evaluate_ask import ask
from clinical.commands.evaluate_ner import ner
from clinical.commands.evaluate_search import search
from clinical.commands.evaluate_summarize import summarize


@click.group()
def evaluate() -> None:
    """Measure systems against a gold standard: quality with its uncertainty, and speed.

    \b
    Examples:
      clinical evaluate ner --gold bc5cdr:test --systems light@bc5cdr,scispacy@bc5cdr
      clinical evaluate search --gold medquad_liveqa --half report
      clinical evaluate ask --gold medquad:test
      clinical evaluate summarize --gold mts_dialog:test
    """


for command in (ask, ner, search, summarize):
    evaluate.add_command(command)
