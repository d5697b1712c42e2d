"""`clinical corpora`: which corpora the project knows, what is in them, how they come here, and whether they leak."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clinical.commands.options import Name
from clinical.commands.tables import print_table
from clinical.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clinical.corpora.audit import Leak, PartReport, Report
    from clinical.corpora.catalog import Corpus

SECONDS_BETWEEN_LINES = 5.0
MOST_LABELS = 12
MOST_FAULTS = 50
FORMAT = click.option(
    "--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True
)


def names() -> Sequence[str]:
    """Return the names of all corpora."""
    from clinical.corpora.catalog import CORPORA

    return [corpus.name for corpus in CORPORA]


@click.group()
def corpora() -> None:
    """List, fetch and check the corpora that the project trains on and measures with.

    \b
    Examples:
      clinical corpora list
      clinical corpora show medquad
      clinical corpora pull bc5cdr
      clinical corpora audit meqsum liveqa
    """


@corpora.command("list")
@FORMAT
def list_corpora(format_: str) -> None:
    """List every corpus: its task, whether it is here, whether it may train shipped weights, its terms.

    Corpora are looked for in the folder that the environment variable CLINICAL_CORPORA names, else in the user's
    own, where `pull` puts them.

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
                _where(root, corpus),
                "yes" if corpus.may_train else "measures only",
                corpus.licence,
            )
            for corpus in CORPORA
        ],
    )
    click.echo(
        f"folder: {root or 'none; fetch one with `clinical corpora pull NAME`, or set CLINICAL_CORPORA'}",
        err=True,
    )


@corpora.command()
@click.argument("name", type=Name("corpus", names))
@click.option("--example", is_flag=True, help="Show the text of the first row, not only its shape.")
@FORMAT
def show(name: str, example: bool, format_: str) -> None:
    """Show one corpus: terms, address, splits with their sizes, and the shape of its first row.

    \b
    Examples:
      clinical corpora show medquad
      clinical corpora show bc5cdr --example
    """
    from clinical.corpora.catalog import find

    corpus = find(name)
    told = _told(corpus, _folder(), example)
    if format_ == "json":
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    for key, value in told.items():
        if isinstance(value, dict):
            click.echo(f"{key}:")
            for inner, of in value.items():
                click.echo(f"  {inner}: {of}")
        else:
            click.echo(f"{key}: {value}")


@corpora.command()
@click.argument("name", type=Name("corpus", names))
@click.option(
    "--to", metavar="DIR", type=click.Path(path_type=Path), help="Put it here.  [default: the corpora folder]"
)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def pull(name: str, to: Path | None, quiet: bool) -> None:
    """Fetch a corpus from its official address, check it, and put it into the corpora folder in our shape.

    Nothing else that clinical does fetches a corpus. A transfer that breaks off goes on where it was when it is
    called again.

    \b
    Examples:
      clinical corpora pull bc5cdr
      clinical corpora pull medquad --to ~/corpora
    """
    from clinical.corpora.catalog import find
    from clinical.corpora.folder import pull_folder
    from clinical.corpora.pull import pull as pull_corpus

    corpus = find(name)
    root = (to or pull_folder()).expanduser()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{root}: {error.strerror}; name another folder with --to") from error
    click.echo(f"{name}: {corpus.licence}", err=True)
    files = pull_corpus(corpus, root, _silent if quiet else _Transfer())
    for file in files:
        click.echo(str(file))
    if _folder() != root:
        click.echo(f"to read it: CLINICAL_CORPORA={root}", err=True)


@corpora.command()
@click.argument("sources", metavar="NAME|FILE…", nargs=-1, required=True)
@click.option("--columns", metavar="MAP", help="How your files call ours, as question=Frage,answer=Antwort.")
@FORMAT
@click.pass_context
def audit(ctx: click.Context, sources: tuple[str, ...], columns: str | None, format_: str) -> None:
    """Look for repeated rows, empty rows and faults, and for rows of one part that also stand in another.

    A source is a corpus (all its splits), one `corpus:split`, or a file of rows: JSON lines, JSON or CSV. Two rows
    are the same when their words are. A row is mostly known when half of its stretches of 80 characters stand in
    an earlier row, or in the other part.

    \b
    Examples:
      clinical corpora audit opi
      clinical corpora audit meqsum:train liveqa
      clinical corpora audit train.csv test.csv --columns question=Frage,answer=Antwort
    """
    from clinical.corpora.audit import audit as audit_parts
    from clinical.corpora.audit import parts_of
    from clinical.corpora.row_files import parse_columns

    mapped = parse_columns(columns) if columns else None
    report = audit_parts([part for source in sources for part in parts_of(source, mapped)])
    if format_ == "json":
        click.echo(json.dumps(report.to_record(), ensure_ascii=False, indent=2))
    else:
        _print_audit(report)
    for fault in report.faults[:MOST_FAULTS]:
        click.echo(f"fault: {fault}", err=True)
    if len(report.faults) > MOST_FAULTS:
        click.echo(
            f"and {len(report.faults) - MOST_FAULTS} more faults; --format json lists them all", err=True
        )
    ctx.exit(1 if report.faults else 0)


def _print_audit(report: Report) -> None:
    head = "part rows faults empty same_row same_question mostly_known words_median words_p90 words_max"
    print_table(tuple(head.split()), [_part_row(part) for part in report.parts])
    for part in report.parts:
        for reason, count in part.passed_over.items():
            click.echo(f"{part.name}: {count} {reason}")
    if any(part.labels for part in report.parts):
        _gap()
        print_table(("part", "labels"), [(part.name, _labels(part.labels)) for part in report.parts])
    if report.leaks:
        _gap()
        head = "rows_of also_in rows same_question same_answer mostly_known one_stretch"
        print_table(tuple(head.split()), [_leak_row(leak) for leak in report.leaks])
    if report.every > 1:
        click.echo(f"of the stretches of 80 characters one in {report.every} was looked at", err=True)


def _part_row(part: PartReport) -> tuple[str, ...]:
    counts = (part.rows, part.faults, part.empty, part.same_row, part.same_asked, part.mostly_known)
    return (part.name, *map(str, (*counts, part.words_median, part.words_p90, part.words_max)))


def _leak_row(leak: Leak) -> tuple[str, ...]:
    counts = (leak.rows, leak.same_asked, leak.same_answer, leak.mostly_known, leak.one_stretch)
    return (leak.name, leak.other, *map(str, counts))


def _labels(labels: Mapping[str, int]) -> str:
    most = [f"{label} {count}" for label, count in list(labels.items())[:MOST_LABELS]]
    return ", ".join(most) + (f" and {len(labels) - MOST_LABELS} more" if len(labels) > MOST_LABELS else "")


def _gap() -> None:
    if sys.stdout.isatty():
        click.echo()


def _told(corpus: Corpus, root: Path | None, example: bool) -> dict[str, Any]:
    """Return what `show` tells of a corpus."""
    from clinical.corpora.pull import how

    told: dict[str, Any] = {
        "name": corpus.name,
        "task": corpus.task,
        "terms": corpus.licence,
        "training": "may train weights that are shipped" if corpus.may_train else "measures only",
        "citation": corpus.citation,
        "address": corpus.address,
        "taken from": corpus.origin,
        "comes here": how(corpus),
        "here": _where(root, corpus),
    }
    if corpus.labels:
        told["labels"] = {theirs: ours or "(none of ours)" for theirs, ours in corpus.labels.items()}
    if root is not None:
        told["records"] = {split: _count(root, corpus, split) for split in corpus.splits}
        first = next(iter(corpus.splits), None)
        if first and (root / corpus.folder / f"{first}.jsonl.gz").is_file():
            told["first record"] = _first(corpus, first, example)
    return told


def _count(root: Path, corpus: Corpus, split: str) -> int | str:
    from clinical.corpora.records import read_records

    if not (root / corpus.folder / f"{split}.jsonl.gz").is_file():
        return "missing"
    return sum(1 for _ in read_records(corpus.name, split))


def _first(corpus: Corpus, split: str, example: bool) -> dict[str, Any]:
    from clinical.corpora.records import read_records

    record = next(read_records(corpus.name, split), {})
    return record if example else {key: _shape(value) for key, value in record.items()}


def _shape(value: object) -> str:
    """Return what a value is, without what it says."""
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    if isinstance(value, list):
        return f"list of {len(value)}" + (f", each {_shape(value[0])}" if value else "")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shape(inner)}" for key, inner in value.items()) + "}"
    return "nothing" if value is None else type(value).__name__


def _silent(name: str, done: int, total: int | None) -> None:
    pass


class _Transfer:
    """Tells on stderr how much of a file has come: in place on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._shown = 0.0
        self._moving = sys.stderr.isatty()

    def __call__(self, name: str, done: int, total: int | None) -> None:
        finished = done == total
        wait = 0.1 if self._moving else SECONDS_BETWEEN_LINES
        if not finished and time.monotonic() - self._shown < wait:
            return
        self._shown = time.monotonic()
        of = "" if total is None else f" of {total / 1e6:.1f} MB ({done / max(total, 1):.0%})"
        line = f"{name}: {done / 1e6:.1f} MB{of}"
        click.echo(f"\r\033[K{line}" if self._moving else line, err=True, nl=finished or not self._moving)


def _folder() -> Path | None:
    from clinical.corpora.folder import corpora_folder

    try:
        return corpora_folder()
    except UsageError:
        return None


def _where(root: Path | None, corpus: Corpus) -> str:
    if not corpus.files:
        return "yours to bring"
    return "found" if _is_here(root, corpus) else "missing"


def _is_here(root: Path | None, corpus: Corpus) -> bool:
    if root is None or not corpus.files:
        return False
    return all((root / corpus.folder / file).is_file() for file in corpus.files)
