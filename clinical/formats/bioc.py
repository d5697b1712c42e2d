"""BioC as JSON (Comeau et al., Database 2013; https://bioc.sourceforge.net), one passage for each section.

Offsets and lengths count Unicode code points from the start of the document, as the collection says in its
infons (BioC leaves the unit open). The passages of a document joined are its text. What an entity has beside
label and place stands in its infons, which BioC wants as text.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clinical.documents.annotations import Entity, Extraction
from clinical.documents.note import Note
from clinical.documents.sections import Section, find_sections
from clinical.formats.json_records import dumps


def header() -> bytes:
    """Return the collection up to its first document."""
    collection = {
        "source": "clinical",
        "date": "",
        "key": "",
        "version": "1.0",
        "infons": {"offset_unit": "Unicode code point"},
    }
    return dumps(collection)[:-1] + b', "documents": [\n'


FOOTER = b"\n]}\n"


def document(note: Note, extraction: Extraction) -> bytes:
    """Return one document of the collection."""
    infons = {
        "path": note.path,
        "title": note.title,
        "date": note.date,
        "system": extraction.system,
        "model": extraction.model,
        "warnings": "\n".join(extraction.warnings),
    }
    return dumps(
        {
            "id": note.id,
            "infons": _texts(infons),
            "passages": list(_passages(note.text, extraction.entities)),
            "annotations": [],
            "relations": [],
        }
    )


def _passages(text: str, entities: Sequence[Entity]) -> Iterator[dict[str, Any]]:
    """Yield the passages in order; a section that would begin inside an entity stays with the one before."""
    waiting = deque(enumerate(entities, 1))
    sections = _sections_around(find_sections(text), entities)
    ends = [*(section.start for section in sections), len(text)][1:]
    for section, end in zip(sections, ends, strict=True):
        inside = []
        while waiting and waiting[0][1].start < end:
            inside.append(waiting.popleft())
        yield {
            "offset": section.start,
            "infons": _texts({"type": section.name, "title": section.title}),
            "text": text[section.start : end],
            "sentences": [],
            "annotations": [_annotation(number, entity) for number, entity in inside],
            "relations": [],
        }


def _sections_around(sections: Sequence[Section], entities: Sequence[Entity]) -> list[Section]:
    """Return the sections whose start no entity spans."""
    starts = [section.start for section in sections]
    spanned: set[int] = set()
    for entity in entities:
        spanned.update(starts[bisect_right(starts, entity.start) : bisect_left(starts, entity.end)])
    return [section for section in sections if section.start not in spanned]


def _annotation(number: int, entity: Entity) -> dict[str, Any]:
    record = entity.as_dict()
    infons = {key: record[key] for key in ("score", "grounding", "section", "expansion")}
    infons["type"] = entity.label
    if entity.assertion:
        infons["assertion"] = entity.assertion.status
        cue = entity.assertion.cue
        infons |= {"cue": cue.text, "cue_offset": cue.start} if cue else {}
    return {
        "id": f"T{number}",
        "infons": _texts(infons),
        "text": entity.text,
        "locations": [{"offset": entity.start, "length": entity.end - entity.start}],
    }


def _texts(infons: Mapping[str, object]) -> dict[str, str]:
    """Return the infons that have a value, as text."""
    return {key: str(value) for key, value in infons.items() if value not in (None, "")}
