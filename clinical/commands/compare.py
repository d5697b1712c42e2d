"""`clinical compare`: what systems find in the same documents, side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from clinical.commands.options import Documents, Name
from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.batch.progress import Tally
    from clinical.commands.evaluate_ner import SystemSpec
    from clinical.documents.annotations import Entity, Extraction
    from clinical.documents.note import Note
    from clinical.errors import DocumentError
    from clinical.prompts.labels import Label
    from clinical.scoring.gold import Gold
    from clinical.scoring.spans import Report, Score
    from clinical.tasks.ner import Recognizer

    Loaded = Sequence[tuple[SystemSpec, Recognizer]]
    ScoreRow = dict[str, object]

FORMAT_OF_ENDING = {".html": "html", ".htm": "html", ".json": "json", ".jsonl": "jsonl", ".txt": "table"}


def _formats() -> Sequence[str]:
    from clinical.formats.comparison import COMPARISON_FORMATS

    return COMPARISON_FORMATS


@click.group()
def compare() -> None:
    """Compare systems on the same documents: agreement, what one alone finds, conflicts.

    \b
    Examples:
      clinical compare ner note.txt --systems light,scispacy
    """


@compare.command()
@click.argument("paths", metavar="PATH…", nargs=-1)
@click.option(
    "--systems",
    metavar="S[@SCHEME][:MODEL],…",
    default="light,scispacy",
    show_default=True,
    help="Two or more systems.",
)
@click.option(
    "--labels", metavar="A,B", help="Look for these labels.  [default: those that all systems know]"
)
@click.option(
    "--gold",
    "gold_source",
    metavar="FILE|FOLDER|CORPUS:SPLIT",
    help="Score against these: records with text and entities, a brat folder, or a split of a corpus.",
)
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Only the first N gold documents.")
@click.option(
    "--format",
    "format_",
    metavar="F",
    type=Name("format", _formats),
    help="table, html, jsonl or json.  [default: by the ending of -o; table or, in a pipe, jsonl]",
)
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Write to this file.")
@click.option("-q", "--quiet", is_flag=True, help="No progress; failures are still named.")
@click.pass_context
def ner(
    ctx: click.Context,
    paths: tuple[str, ...],
    systems: str,
    labels: str | None,
    gold_source: str | None,
    limit: int | None,
    format_: str | None,
    output: Path | None,
    quiet: bool,
) -> None:
    """Show what two or more systems find in the same documents, entity by entity.

    With --gold the systems are scored on the documents whose text the gold standard has (all of its documents
    when no PATH is given): strict and partial precision, recall and F1 by label, and a paired bootstrap.

    \b
    Examples:
      clinical compare ner note.txt --systems light,scispacy
      clinical compare ner notes/ --systems light,mistral:clinical-mini -o comparison.html
      clinical compare ner --gold ncbi_disease:dev --limit 20 --systems light,scispacy
    """
    from clinical.commands.evaluate_ner import parse_system
    from clinical.scoring.gold import read_gold

    specs = [parse_system(spec) for spec in systems.split(",") if spec.strip()]
    if len(specs) < 2:
        raise UsageError("--systems wants two or more, as --systems light,scispacy")
    gold = read_gold(gold_source, limit=limit) if gold_source else None
    chosen = format_ or _format_for(output)
    loaded = [(spec, spec.load()) for spec in specs]
    asked, remarks = _labels(labels, loaded)
    documents, total = _documents(paths) if paths or gold is None else _gold_notes(gold)
    with _opened(output) as stream:
        tally = _write(documents, total, loaded, asked, gold, remarks, chosen, stream, quiet)
    ctx.exit(1 if tally.failed else 0)


def _format_for(output: Path | None) -> str:
    if output is not None:
        return FORMAT_OF_ENDING.get(output.suffix.lower(), "html")
    return "table" if sys.stdout.isatty() else "jsonl"


def _labels(names: str | None, loaded: Loaded) -> tuple[tuple[Label, ...], list[str]]:
    """Return the labels that every system knows, and remarks on those that some do not."""
    from clinical.commands.evaluate_ner import unknown_labels
    from clinical.prompts.labels import by_name, core_labels

    asked = by_name(names.split(",")) if names else core_labels()
    remarks = []
    known = asked
    for spec, recognizer in loaded:
        unknown = unknown_labels(recognizer, asked)
        if unknown:
            listed = ", ".join(label.name for label in unknown)
            remarks.append(f"Not compared, since {spec.text} does not know it: {listed}.")
            known = tuple(label for label in known if label not in unknown)
    if not known:
        raise UsageError(f"no label that all systems know. {' '.join(remarks)}")
    return known, remarks


def _documents(paths: Sequence[str]) -> tuple[Iterable[Note | DocumentError], int | None]:
    documents = Documents(paths)
    return documents, documents.total


def _gold_notes(gold: Gold) -> tuple[Iterable[Note | DocumentError], int]:
    from clinical.documents.note import Note

    return (Note(document.id, document.text) for document in gold.documents), len(gold.documents)


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str] | IO[bytes]]:
    """Give standard output, or a file that takes its place only when it is complete."""
    if output is None:
        yield sys.stdout
        return
    if output.is_dir():
        raise UsageError(f"-o {output} is a folder; give a file, as -o {output / 'comparison.html'}")
    partial = output.with_name(f".{output.name}.partial")
    try:
        stream = partial.open("wb")
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error
    try:
        with stream:
            yield stream
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def _write(
    documents: Iterable[Note | DocumentError],
    total: int | None,
    loaded: Loaded,
    labels: Sequence[Label],
    gold: Gold | None,
    remarks: list[str],
    format: str,
    stream: IO[str] | IO[bytes],
    quiet: bool,
) -> Tally:
    from clinical.batch.progress import Tally, progress
    from clinical.batch.run import in_process
    from clinical.errors import DocumentError
    from clinical.formats.comparison import open_comparison
    from clinical.tasks.ner import extract

    def all_systems(notes: Sequence[Note]) -> list[list[Extraction]]:
        return [[extract([note], recognizer, labels)[0] for _, recognizer in loaded] for note in notes]

    tally = Tally()
    scorer = _Scorer(gold, loaded, labels) if gold else None
    writer = open_comparison(format, stream)
    with progress(total, quiet=quiet, moving=not sys.stdout.isatty()) as shown:
        for _, recognizer in loaded:
            shown.tell(f"using {recognizer.system}, model {recognizer.model}")
        for result in in_process(all_systems, documents, 1):
            if isinstance(result, DocumentError):
                tally.failed += 1
                shown.say(f"failed: {result}")
            else:
                tally.done += 1
                note, extractions = result
                writer.write(note, extractions)
                if scorer:
                    scorer.add(note, extractions)
            shown.update(tally)
    if scorer:
        remarks = [*remarks, *scorer.remarks()]
    writer.close(scorer.rows() if scorer else (), remarks)
    return tally


class _Scorer:
    """Collects the entities of the notes that the gold standard has, and scores them at the end."""

    def __init__(self, gold: Gold, loaded: Loaded, labels: Sequence[Label]) -> None:
        self._gold = {document.text: document.entities for document in gold.documents}
        self._block = gold.block
        self._labels = [label.name for label in labels if label.name in gold.labels]
        self._names = [spec.text for spec, _ in loaded]
        self._right: list[Sequence[Entity]] = []
        self._found: list[list[Sequence[Entity]]] = [[] for _ in loaded]
        self._without_gold = 0

    def add(self, note: Note, extractions: Sequence[Extraction]) -> None:
        """Take one note. Offsets hold for exactly its text, so by its text it is looked up."""
        right = self._gold.get(note.text)
        if right is None:
            self._without_gold += 1
            return
        self._right.append(right)
        for found, extraction in zip(self._found, extractions, strict=True):
            found.append(extraction.entities)

    def rows(self) -> list[ScoreRow]:
        """Return the score of each system over all labels, then for each label."""
        reports = self._reports()
        every: list[tuple[str, str, Score]] = [
            (name, "all", report.micro) for name, report in zip(self._names, reports, strict=True)
        ]
        for label in self._labels:
            every += [
                (name, label, report.labels[label]) for name, report in zip(self._names, reports, strict=True)
            ]
        return [_row(*one) for one in every]

    def remarks(self) -> list[str]:
        """Return sentences about what was scored, and whether the systems differ."""
        from clinical.scoring.bootstrap import f1_difference

        if not self._right:
            return ["No document has the text of a gold document; nothing was scored."]
        without = f", without gold: {self._without_gold}" if self._without_gold else ""
        remarks = [f"Documents scored: {len(self._right)}{without}. Labels: {', '.join(self._labels)}."]
        first, *others = zip(self._names, self._reports(), strict=True)
        for name, report in others:
            difference = f1_difference(first[1].documents, report.documents, block=self._block)
            low, value, high = (
                f"{100 * share:+.1f}"
                for share in (difference.interval.low, difference.interval.value, difference.interval.high)
            )
            remarks.append(
                f"Strict F1 of {first[0]} minus {name}: {value} (95% {low} to {high}), p = {difference.p:.3f}"
                " (paired bootstrap)."
            )
        return remarks

    def _reports(self) -> list[Report]:
        from clinical.scoring.spans import score

        return [score(self._right, found, self._labels) for found in self._found]


def _row(system: str, label: str, score: Score) -> ScoreRow:
    return {
        "system": system,
        "label": label,
        "gold": score.strict.gold,
        "found": score.strict.predicted,
        "strict P": score.strict.precision,
        "strict R": score.strict.recall,
        "strict F1": score.strict.f1,
        "partial P": score.partial.precision,
        "partial R": score.partial.recall,
        "partial F1": score.partial.f1,
    }
