"""The comparison as a web page: the text with a line under it for each system, the findings, and the totals.

Findings are filtered by relation, label and words. The page is made as `clinical.formats.page` makes its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any

from clinical.documents.annotations import Entity, Extraction
from clinical.documents.note import Note
from clinical.formats.agreement import Finding
from clinical.formats.colors import color
from clinical.formats.comparison import Scores, Totals, relation_name
from clinical.formats.comparison_table import agreed, show_score
from clinical.formats.display import one_line, visible
from clinical.formats.streams import binary_sink
from clinical.formats.templates import fill

_SYSTEM_HUES = (215, 28, 165, 285, 345, 95)
_SHORT = {"agreement": "same", "boundary": "edges", "conflict": "label", "some": "some", "only": "only"}


class ComparisonPage:
    """Writes the page document by document, and the totals at its end; the page shows them first."""

    def __init__(self, stream: IO[str] | IO[bytes]) -> None:
        self._sink = binary_sink(stream)
        self._totals = Totals()
        self._readers: list[str] = []

    def write(self, note: Note, extractions: Sequence[Extraction]) -> None:
        """Write one document."""
        totals = self._totals
        first = not totals.documents
        findings = totals.add(extractions)
        if first:
            self._readers = [f"{extraction.system} ({extraction.model})" for extraction in extractions]
            self._begin()
        self._sink(fill("comparison_note.html", **_article(totals, note, extractions, findings)))

    def close(self, scores: Scores = (), remarks: Sequence[str] = ()) -> None:
        """Write the totals and the end of the page."""
        totals = self._totals
        if not totals.documents:
            self._begin()
        by_label = [*totals.labels(), ("all", totals.all)] if totals.all else []
        self._sink(
            fill(
                "comparison_foot.html",
                documents="1 document" if totals.documents == 1 else f"{totals.documents} documents",
                readers=self._readers,
                systems=totals.systems,
                relations=totals.relations,
                totals=[
                    (label, [counts[relation] for relation in totals.relations], agreed(counts))
                    for label, counts in by_label
                ],
                conflicts=totals.conflicts.most_common(),
                scores=scores,
                remarks=remarks,
                show=show_score,
            )
        )

    def _begin(self) -> None:
        systems = self._totals.systems
        hues = [_SYSTEM_HUES[place % len(_SYSTEM_HUES)] for place in range(len(systems))]
        self._sink(fill("comparison_head.html", systems=systems, hues=hues))


@dataclass(frozen=True)
class _Cell:
    """What one system says."""

    text: str
    label: str
    hue: int
    saturation: int


@dataclass(frozen=True)
class _Row:
    """What the page says of a finding."""

    anchor: str
    kind: str
    relation: str
    short: str
    tag: str
    tip: str
    labels: str
    cells: Sequence[_Cell | None]
    start: int
    end: int


@dataclass(frozen=True)
class _Segment:
    """A piece of the text that the same entities cover, with the findings that end at its end."""

    text: str
    classes: str
    cover: str
    ending: Sequence[_Row]


def _article(
    totals: Totals, note: Note, extractions: Sequence[Extraction], findings: Sequence[Finding]
) -> dict[str, Any]:
    """Return what the template of a note wants."""
    number = totals.documents
    rows = [_row(f"d{number}f{place}", finding, totals.systems) for place, finding in enumerate(findings)]
    name = one_line(note.title or note.id)
    source = dict.fromkeys(one_line(part) for part in (note.id, note.path, note.date) if part)
    return {
        "number": number,
        "name": name,
        "facts": [*(part for part in source if part != name), f"{len(findings)} findings"],
        "warnings": [
            f"{system}: {warning}"
            for system, extraction in zip(totals.systems, extractions, strict=True)
            for warning in extraction.warnings
        ],
        "segments": _segments(note.text, findings, rows),
        "systems": totals.systems,
        "rows": rows,
    }


def _row(anchor: str, finding: Finding, systems: Sequence[str]) -> _Row:
    readings = [
        f"{system}: {_reading(entity)}" for system, entity in zip(systems, finding.entities, strict=True)
    ]
    relation = relation_name(finding, systems)
    return _Row(
        anchor=anchor,
        kind=finding.relation,
        relation=relation,
        short=_SHORT[finding.relation],
        tag=" vs ".join(one_line(label) for label in finding.labels),
        tip="\n".join((relation, *readings, f"characters {finding.start}–{finding.end}")),
        labels="\n".join(one_line(label) for label in finding.labels),
        cells=[_cell(entity) if entity else None for entity in finding.entities],
        start=finding.start,
        end=finding.end,
    )


def _reading(entity: Entity | None) -> str:
    if entity is None:
        return "nothing"
    score = "" if entity.score is None else f", score {entity.score:.2f}"
    return f"{one_line(entity.text)} – {one_line(entity.label)}{score}"


def _cell(entity: Entity) -> _Cell:
    return _Cell(one_line(entity.text), one_line(entity.label), *color(entity.label))


def _segments(text: str, findings: Sequence[Finding], rows: Sequence[_Row]) -> Iterator[_Segment]:
    """Yield the text cut at the edges of all entities."""
    shown = visible(text)
    begins: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    stops: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    ending: defaultdict[int, list[_Row]] = defaultdict(list)
    for place, finding in enumerate(findings):
        ending[finding.end].append(rows[place])
        for system, entity in enumerate(finding.entities):
            if entity:
                begins[entity.start].append((system, place))
                stops[entity.end].append((system, place))
    edges = sorted({0, len(text), *begins, *stops})
    cover: set[tuple[int, int]] = set()
    for start, end in pairwise(edges):
        cover -= set(stops[start])
        cover |= set(begins[start])
        pairs = sorted(cover)
        lanes = dict.fromkeys(f"s{system}" for system, _ in pairs)
        kinds = dict.fromkeys(findings[place].relation for _, place in pairs)
        yield _Segment(
            shown[start:end],
            " ".join((*lanes, *kinds)),
            " ".join(f"{system}:{place}" for system, place in pairs),
            ending[end],
        )
