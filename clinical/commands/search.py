"""`clinical search`: the passages of notes that answer to a query."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, get_args

import click
from click.shell_completion import CompletionItem

from clinical.commands.options import Name, model_options, search_options
from clinical.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clinical.documents.annotations import AssertionStatus
    from clinical.index.backend import Unit
    from clinical.index.ranking import Mode


def _units() -> Sequence[str]:
    from clinical.index.backend import UNITS

    return UNITS


def _formats() -> Sequence[str]:
    from clinical.formats.passages import HIT_FORMATS

    return HIT_FORMATS


NOT_NEGATED = "not-negated"
"""The short form of every assertion but one."""


def _assertions() -> Sequence[str]:
    from clinical.documents.annotations import AssertionStatus

    return *get_args(AssertionStatus), NOT_NEGATED


class Assertions(click.ParamType[tuple[str, ...]]):
    """One assertion or several, with commas between; `not-negated` stands for all but one."""

    name = "assertions"
    one = Name("assertion", _assertions)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names, or fail in one line at the first that there is not."""
        from clinical.tasks.search import NOT_NEGATED as not_negated

        names = [self.one.convert(name.strip(), param, ctx) for name in str(value).split(",")]
        meant = [one for name in names for one in (not_negated if name == NOT_NEGATED else (name,))]
        return tuple(dict.fromkeys(meant))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that the last of those written could become."""
        before, comma, last = incomplete.rpartition(",")
        found = self.one.shell_complete(ctx, param, last)
        return [CompletionItem(before + comma + item.value) for item in found]


@click.command(short_help="Find where it is said: passages that answer to a query.")
@click.argument("query")
@click.argument("paths", metavar="PATH…", nargs=-1, required=True)
@click.option(
    "-k",
    "count",
    metavar="N",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="How many passages, or documents.",
)
@click.option(
    "--by",
    metavar="U",
    type=Name("unit", _units),
    default="passage",
    show_default=True,
    help="passage, or document: one hit for each document, ranked as a whole and shown by its best passage.",
)
@search_options
@click.option(
    "--assertion",
    metavar="A,B",
    type=Assertions(),
    help="Only passages where the words of the query are present, negated, possible, historical, "
    "hypothetical, family (of the family) or not-negated (all but negated); several with commas.",
)
@click.option(
    "--embedder",
    metavar="NAME|FOLDER",
    help="A sentence-transformers model to search by meaning with.  [default: all-MiniLM-L6-v2]",
)
@click.option(
    "--system",
    metavar="S",
    type=Name("system", lambda: ("light", "mistral")),
    default="light",
    show_default=True,
    help="light, or mistral: a language model chooses the sentences that answer among those found.",
)
@model_options("search.v1")
@click.option(
    "--format",
    "format_",
    metavar="F",
    type=Name("format", _formats),
    help="table, jsonl, json or html.  [default: table or, in a pipe, jsonl]",
)
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.pass_context
def search(
    ctx: click.Context,
    query: str,
    paths: tuple[str, ...],
    count: int,
    by: Unit,
    mode: Mode,
    assertion: tuple[AssertionStatus, ...] | None,
    embedder: str | None,
    section: str | None,
    within: str | None,
    since: str | None,
    until: str | None,
    no_expand: bool,
    system: str,
    model: str | None,
    adapter: str | None,
    prompt: str | None,
    format_: str | None,
    quiet: bool,
) -> None:
    """Find the passages of notes that answer to a query, or the notes, with the file and line of each.

    The first search of some PATHs makes an index of them in your data folder; each later one reads again
    what has changed. The index holds the text of the notes, for your eyes alone; `clinical index forget`
    erases it. Exit code 1 when some files could not be read.

    \b
    Examples:
      clinical search "chest pain on exertion" notes/
      clinical search anticoagulant notes/ letters.jsonl -k 3 --section medications
      clinical search fever notes/ --assertion present --format jsonl > hits.jsonl
      clinical search stroke notes/ --assertion present,historical
      clinical search stroke notes/ --assertion not-negated
      clinical search "hip surgery" notes/ --by document -k 50
      clinical search MI notes/ --path 'cardiology/*' --since 2024-05 --until 2024
    """
    from clinical.commands.index import show_changes, update_progress
    from clinical.formats.passages import write_hits
    from clinical.index.filters import Filter
    from clinical.models.embedders import load_embedder
    from clinical.tasks.search import find

    chooser = None
    if system == "mistral":
        from clinical.tasks.search_mistral import load_chooser

        if by == "document":
            raise UsageError(
                "--system mistral chooses sentences, not documents; leave out --by document or it"
            )
        chooser = load_chooser(model, adapter, prompt)
    elif model or adapter or prompt:
        raise UsageError("--model, --adapter and --prompt belong to --system mistral")
    with update_progress(quiet) as done:
        found = find(
            query,
            paths,
            load_embedder(embedder),
            k=count,
            by=by,
            mode=mode,
            assertion=assertion,
            section=section,
            filter=Filter(path=within, since=since, until=until),
            expand=not no_expand,
            chooser=chooser,
            done=done,
        )
    remarks = [remark for remark in found.remarks if not quiet or remark not in found.reading]
    show_changes(found.changes, remarks, quiet)
    if not found.hits and not quiet:
        narrowed = assertion or section or within or since or until
        way = "fewer filters" if narrowed else "--mode dense"
        click.echo(f"no {by}s found; try other words, or {way}", err=True)
    elif not quiet and not any(hit.near for hit in found.hits):
        asked = query if len(query) <= 60 else f"{query[:60]}…"
        click.echo(f"nothing near {asked!r} in these notes; what follows is farther away", err=True)
    write_hits(format_ or ("table" if sys.stdout.isatty() else "jsonl"), query, found.hits, sys.stdout)
    ctx.exit(1 if found.changes.faults else 0)
