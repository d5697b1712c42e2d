"""What every view of a summary shows: where a sentence is from, what speaks against it, how much was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clinical.documents.note import Note
from clinical.documents.summaries import TIMELINE, Omission, Source, Summary, SummarySentence
from clinical.formats.display import one_line

MOST_OMITTED = 12
"""How many omissions a view shows before it counts the rest."""

LABELS = {
    "Allergy": "allergies",
    "Disease": "problems",
    "Symptom": "symptoms",
    "Medication": "drugs",
    "Result": "results",
}


@dataclass(frozen=True)
class Place:
    """A source as people find it again: its number in the summary, its line, and its document in a timeline."""

    number: int
    line: int
    document: str | None
    source: Source


def places(notes: Sequence[Note], summary: Summary) -> dict[Source, Place]:
    """Return the sources of a summary, numbered in the order of their first use."""
    texts = {note.id: note for note in notes}
    found: dict[Source, Place] = {}
    for source in all_sources(summary):
        if source not in found:
            note = texts[source.id] if source.id in texts else notes[0]
            document = one_line(note.id) if len(notes) > 1 else None
            found[source] = Place(len(found) + 1, line_of(note.text, source.start), document, source)
    return found


def all_sources(summary: Summary) -> Iterator[Source]:
    """Yield the sources of the sentences, then those of the conflicts."""
    for sentence in summary.sentences:
        yield from sentence.sources
    for conflict in summary.conflicts:
        yield from conflict.sources


def line_of(text: str, offset: int) -> int:
    """Return the number of the line that the offset stands in, counted from one."""
    return text.count("\n", 0, offset) + 1


def base_name(document: str | None) -> str:
    """Return the id of a document without the folders in front."""
    return one_line(document or "").rpartition("/")[2]


def name_of(notes: Sequence[Note], summary: Summary) -> str:
    """Return what the summary is headed by."""
    if summary.style == TIMELINE:
        return f"Timeline of {len(notes)} {'document' if len(notes) == 1 else 'documents'}"
    return one_line(notes[0].title or notes[0].id)


def facts_of(notes: Sequence[Note], summary: Summary) -> str:
    """Return the line that says what made the summary, and how many sentences were dropped."""
    doubted = sum(sentence.support != "supported" for sentence in summary.sentences)
    count = len(summary.sentences)
    parts = [
        summary.style,
        f"{summary.system} ({summary.model})",
        f"{count} {'sentence' if count == 1 else 'sentences'}",
    ]
    if doubted:
        parts.append(f"{doubted} not fully supported")
    if summary.dropped:
        parts.append(f"{summary.dropped} unsupported left out on request")
    return " · ".join(map(one_line, parts))


def headed(summary: Summary) -> Iterator[tuple[str | None, SummarySentence]]:
    """Yield the sentences, each with its heading where a new one begins, else with `None`."""
    last: str | None = None
    for sentence in summary.sentences:
        new = sentence.heading if sentence.heading != last else None
        last = sentence.heading
        yield new, sentence


def grouped(omitted: Sequence[Omission]) -> Mapping[str, list[Omission]]:
    """Return the omissions that are shown, by what they are, in the order of their weight."""
    groups: dict[str, list[Omission]] = {}
    for omission in omitted[:MOST_OMITTED]:
        groups.setdefault(LABELS.get(omission.label, omission.label.lower()), []).append(omission)
    return groups


def rest_of(omitted: Sequence[Omission]) -> str:
    """Return the words for the omissions that are not shown; "" when all are."""
    more = len(omitted) - MOST_OMITTED
    return f"and {more} more (--format json has all)" if more > 0 else ""
