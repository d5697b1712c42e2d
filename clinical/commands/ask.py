"""`clinical ask`: what the notes say to a question, with the place of every sentence."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

import click

from clinical.commands.options import Name, model_options, search_options
from clinical.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clinical.documents.answers import Answer
    from clinical.index.ranking import Mode


def _formats() -> Sequence[str]:
    from clinical.formats.answers import ANSWER_FORMATS

    return ANSWER_FORMATS


def _corpora() -> Sequence[str]:
    from clinical.corpora.answers import CORPORA

    return CORPORA


def _systems() -> Sequence[str]:
    from clinical.tasks.ask import SYSTEMS

    return SYSTEMS


@click.command(short_help="Ask the notes a question: quoted sentences, or that they do not tell.")
@click.argument("question")
@click.argument("paths", metavar="[PATH…]", nargs=-1)
@click.option("--corpus", metavar="C", type=Name("corpus", _corpora), help="Ask a corpus too: medquad.")
@click.option("-k", "most", metavar="N", type=click.IntRange(min=1), default=5, show_default=True,
              help="How many sentences at most.")  # fmt: skip
@click.option("--system", metavar="S", type=Name("system", _systems),
              help="light or mistral.  [default: mistral if a model is chosen, else light]")  # fmt: skip
@model_options("ask.v1")
@click.option(
    "--quote", is_flag=True, help="mistral chooses sentences of the notes in place of writing its own."
)
@click.option("--yes-no", "yes_no", is_flag=True, help="Answer with yes, no or maybe, and the evidence.")
@click.option("--study", is_flag=True, help="With --yes-no: the documents are abstracts of studies.")
@search_options
@click.option(
    "--embedder",
    metavar="NAME|FOLDER",
    help="A sentence-transformers model to search by meaning with; light still reads what is found by its own."
    "  [default: all-MiniLM-L6-v2]",
)
@click.option("--format", "format_", metavar="F", type=Name("format", _formats),
              help="table, jsonl, json or html.  [default: table or, in a pipe, jsonl]")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.pass_context
def ask(
    ctx: click.Context,
    question: str,
    paths: tuple[str, ...],
    corpus: str | None,
    most: int,
    system: str | None,
    model: str | None,
    adapter: str | None,
    prompt: str | None,
    quote: bool,
    yes_no: bool,
    study: bool,
    mode: Mode,
    no_expand: bool,
    section: str | None,
    within: str | None,
    since: str | None,
    until: str | None,
    embedder: str | None,
    format_: str | None,
    quiet: bool,
) -> None:
    """Answer a question from the notes, each sentence with the file and line it stands on.

    light quotes the notes; mistral writes, and what its citations do not bear out is marked. When nothing
    in the notes seems to answer, that is said, and the nearest sentences are shown. Questions and notes are
    read in English. Exit code 1 when some files could not be read.

    \b
    Examples:
      clinical ask "Which anticoagulant was stopped, and why?" notes/
      clinical ask "any allergies?" notes/ --section allergies -k 3
      clinical ask "Did she have a stroke?" notes/ --yes-no
      clinical ask "What did the CT show?" notes/ --format jsonl | jq .citations
      clinical ask "How is gout treated?" --corpus medquad
    """
    from clinical.commands.index import show_changes, update_progress
    from clinical.corpora.answers import answer_documents
    from clinical.formats.answers import write_answer
    from clinical.index.filters import Filter
    from clinical.models import cache
    from clinical.models.embedder import Embedder
    from clinical.models.embedders import load_embedder
    from clinical.tasks.ask import ask as answer_question
    from clinical.tasks.ask import load_answerer

    if corpus is not None:
        paths = (*paths, str(answer_documents(corpus, cache.folder("corpora"))))
    if not paths:
        raise UsageError("nothing to ask; give a file or folder of notes, or --corpus medquad")
    if study and not yes_no:
        raise UsageError("--study goes with --yes-no")
    decision: Literal["notes", "study"] | None = ("study" if study else "notes") if yes_no else None
    answerer = load_answerer(
        Embedder(), system, model, adapter=adapter, prompt=prompt, quote=quote, most=most, yes_no=decision
    )
    filter = Filter(path=within, since=since, until=until)
    with update_progress(quiet) as done:
        asked = answer_question(
            question,
            paths,
            load_embedder(embedder),
            answerer,
            mode=mode,
            section=section,
            filter=filter,
            expand=not no_expand,
            done=done,
        )
    remarks = [remark for remark in asked.remarks if not quiet or remark not in asked.reading]
    show_changes(asked.changes, remarks, quiet)
    for line in _remarks(asked.answer):
        click.echo(line, err=True)
    write_answer(format_ or ("table" if sys.stdout.isatty() else "jsonl"), asked.answer, sys.stdout)
    ctx.exit(1 if asked.changes.faults else 0)


def _remarks(answer: Answer) -> Sequence[str]:
    """Return the lines for the user beside the answer."""
    if answer.abstained and not answer.nearest:
        return [*answer.warnings, "nothing in these notes has to do with the question; try other words"]
    return answer.warnings
