"""How systems compare on the same notes: where they agree, what one alone finds, where label or edges differ.

    writer = open_comparison("html", stream)
    for note in notes:
        writer.write(note, [extraction_of_light, extraction_of_scispacy])
    writer.close(scores, remarks)

Each note comes with the extractions of all systems, always in the same order. With a gold standard,
`scores` are the rows of a table, all with the same keys, which become its columns: numbers with a fraction
are shares of 1 and shown in percent; `remarks` are sentences to stand below it. Formats: `table` for the
terminal, `html` for one page that loads nothing, `jsonl` for one object per document, `json` for one
object with all of them and the totals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Protocol

from clinical.documents.annotations import Extraction
from clinical.documents.note import Note
from clinical.errors import UsageError
from clinical.formats.agreement import Finding, compare
from clinical.formats.json_records import dumps
from clinical.formats.streams import binary_sink

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["COMPARISON_FORMATS", "ComparisonWriter", "Scores", "Totals", "open_comparison"]

COMPARISON_FORMATS = ("table", "jsonl", "json", "html")
Scores = Sequence[Mapping[str, object]]


class ComparisonWriter(Protocol):
    """Writes one document after another; `close` writes the totals and leaves the stream open."""

    def write(self, note: Note, extractions: Sequence[Extraction]) -> None:
        """Write one document."""
        ...

    def close(self, scores: Scores = (), remarks: Sequence[str] = ()) -> None:
        """Write what concerns all documents."""
        ...


def open_comparison(
    format: str, stream: IO[str] | IO[bytes], *, console: Console | None = None
) -> ComparisonWriter:
    """Return a writer of this format to the stream; `console` stands for `table` in place of the stream.

    Raises `UsageError` for a format that there is not.
    """
    if format == "table":
        from clinical.formats.comparison_table import ComparisonTable

        return ComparisonTable(stream, console)
    if format == "html":
        from clinical.formats.comparison_page import ComparisonPage

        return ComparisonPage(stream)
    if format not in COMPARISON_FORMATS:
        raise UsageError(f"no format {format!r} for a comparison; available: {', '.join(COMPARISON_FORMATS)}")
    return ComparisonRecords(stream, lines=format == "jsonl")


@dataclass
class Totals:
    """The sum over documents: how many findings stand in each relation, over all and by label.

    A label conflict counts once over all, and under each of its labels.
    """

    systems: tuple[str, ...] = ()
    documents: int = 0
    all: Counter[str] = field(default_factory=Counter)
    by_label: dict[str, Counter[str]] = field(default_factory=dict)
    conflicts: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def add(self, extractions: Sequence[Extraction]) -> list[Finding]:
        """Count one document and return its findings."""
        self.systems = self.systems or names(extractions)
        findings = compare([extraction.entities for extraction in extractions])
        for finding in findings:
            relation = relation_name(finding, self.systems)
            self.all[relation] += 1
            for label in finding.labels:
                self.by_label.setdefault(label, Counter())[relation] += 1
            if finding.relation == "conflict":
                self.conflicts[tuple(entity.label if entity else "" for entity in finding.entities)] += 1
        self.documents += 1
        return findings

    @property
    def relations(self) -> tuple[str, ...]:
        """The relations that can be, in the order of display."""
        some = ("some agree",) if len(self.systems) > 2 else ()
        return ("agreement", *some, "boundary", "label conflict", *(f"only {name}" for name in self.systems))

    def labels(self) -> list[tuple[str, Counter[str]]]:
        """The counts of each label, the most frequent first."""
        return sorted(self.by_label.items(), key=lambda item: (-item[1].total(), item[0]))

    def as_dict(self) -> dict[str, Any]:
        """Return the totals as JSON writes them."""
        return {
            "documents": self.documents,
            "all": {relation: self.all[relation] for relation in self.relations},
            "by_label": {
                label: {relation: counts[relation] for relation in self.relations}
                for label, counts in self.labels()
            },
            "conflicts": [
                {"labels": dict(zip(self.systems, labels, strict=True)), "count": count}
                for labels, count in self.conflicts.most_common()
            ],
        }


def names(extractions: Sequence[Extraction]) -> tuple[str, ...]:
    """Return a name for each system: its own, with the model where two share it."""
    systems = Counter(extraction.system for extraction in extractions)
    return tuple(
        extraction.system if systems[extraction.system] == 1 else f"{extraction.system} {extraction.model}"
        for extraction in extractions
    )


def relation_name(finding: Finding, systems: Sequence[str]) -> str:
    """Return the words for the relation: "only light" for what only that system found."""
    if finding.only is not None:
        return f"only {systems[finding.only]}"
    words = {"conflict": "label conflict", "some": "some agree"}
    return words.get(finding.relation, finding.relation)


class ComparisonRecords:
    """JSON: `{"documents": [...], "totals": …, "scores": …, "remarks": …}`, or the documents line by line.

    With lines, scores that there are stand with the totals in a last line of their own.
    """

    def __init__(self, stream: IO[str] | IO[bytes], *, lines: bool) -> None:
        self._sink = binary_sink(stream)
        self._lines = lines
        self._totals = Totals()

    def write(self, note: Note, extractions: Sequence[Extraction]) -> None:
        """Write one document."""
        first = not self._totals.documents
        findings = self._totals.add(extractions)
        record = dumps(_record(note, extractions, self._totals.systems, findings))
        if self._lines:
            self._sink(record + b"\n")
        else:
            self._sink((b'{"documents": [\n' if first else b",\n") + record)

    def close(self, scores: Scores = (), remarks: Sequence[str] = ()) -> None:
        """Write the end."""
        ending = dumps({"totals": self._totals.as_dict(), "scores": list(scores), "remarks": list(remarks)})
        if not self._lines:
            start = b"\n], " if self._totals.documents else b'{"documents": [], '
            self._sink(start + ending[1:] + b"\n")
        elif scores:
            self._sink(ending + b"\n")


def _record(
    note: Note, extractions: Sequence[Extraction], systems: Sequence[str], findings: Sequence[Finding]
) -> dict[str, Any]:
    return {
        "id": note.id,
        "path": note.path,
        "systems": [
            {
                "name": name,
                "system": extraction.system,
                "model": extraction.model,
                "warnings": list(extraction.warnings),
            }
            for name, extraction in zip(systems, extractions, strict=True)
        ],
        "findings": [
            {
                "relation": relation_name(finding, systems),
                "start": finding.start,
                "end": finding.end,
                "entities": {
                    name: entity.as_dict() if entity else None
                    for name, entity in zip(systems, finding.entities, strict=True)
                },
            }
            for finding in findings
        ],
    }
