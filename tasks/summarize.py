"""Summaries: what a note comes to, each sentence tied to its source, with a list of what was left out.

    clinical summarize note.txt
    clinical summarize dialogue.txt --style soap --system light

Two systems stand behind one interface, `Summarizer`: `light` (sentences of the note, chosen) and `mistral` (a
language model that writes). What a system proposes are drafts; whether the note bears them out
(`clinical.tasks.support`) and what they leave out (`clinical.tasks.omissions`) is found the same way for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Protocol

from clinical.documents.annotations import Entity
from clinical.documents.note import Note
from clinical.documents.summaries import TIMELINE, Draft, Omission, Source, Summary, SummarySentence
from clinical.errors import UsageError
from clinical.facts.document_date import Date, date_of, shown_date
from clinical.facts.language import foreign_document
from clinical.facts.mentions import whole_mentions
from clinical.facts.terms import content
from clinical.models.settings import SMALL_MISTRAL, choose_system
from clinical.tasks.ner import Recognizer, extract, load_recognizer
from clinical.tasks.omissions import find_omissions
from clinical.tasks.remarks import remarks
from clinical.tasks.support import Support
from clinical.tasks.timeline import Document, dated_units, find_conflicts

__all__ = [
    "ALIASES",
    "STYLES",
    "SYSTEMS",
    "Summarizer",
    "entities_of",
    "load_summarizer",
    "style_named",
    "summarize",
    "together",
]

SYSTEMS = ("light", "mistral")


STYLES = {
    "brief": "what matters of a note, in a few sentences in the order of the note",
    "sections": "each section of the note in a sentence or two",
    "problems": "the problem list, each problem with its evidence",
    "handoff": "one line on the patient, active problems, medications, what is pending, the plan",
    "impression": "the findings of a radiology report as its impression",
    "question": "what a long message of a patient asks",
    "patient": "what the patient has to know and do",
    "soap": "a dialogue between doctor and patient as a note: subjective, objective, assessment, plan",
}
"""The styles and what each one gives. A language model has one prompt template for each: `summarize.STYLE.v1`."""

ALIASES = {"dialogue": "soap"}


class Summarizer(Protocol):
    """One way to summarize. `system` and `model` are printed with every result."""

    @property
    def system(self) -> str:
        """The name of the system."""
        ...

    @property
    def model(self) -> str:
        """The name of the model within the system."""
        ...

    def draft(self, note: Note, style: str, *, entities: Sequence[Entity]) -> Sequence[Draft]:
        """Return the sentences of a summary in their order; `style` is one of `STYLES`.

        `entities` are those of the note, with their assertion and section. Sources carry the text that stands
        at their offsets. An empty answer means that the note holds nothing to say in this style.
        """
        ...


def style_named(name: str) -> str:
    """Return the style of this name or alias; raises `UsageError` with the choices when there is none."""
    style = ALIASES.get(name, name)
    if style not in STYLES:
        raise UsageError(f"no style {name!r}; available: {', '.join([*STYLES, *ALIASES])}")
    return style


def load_summarizer(
    system: str | None = None,
    model: str | None = None,
    *,
    adapter: str | None = None,
    prompt: str | None = None,
) -> Summarizer:
    """Return the system to use, ready to work.

    Without a system: `mistral` when the user has chosen a model (here, in the settings or by `CLINICAL_MODEL`),
    else `light`. Raises `UsageError` for what does not exist or does not go together.
    """
    system, chosen = choose_system(system, model, SYSTEMS)
    if system != "mistral" and (adapter or prompt):
        raise UsageError(f"--adapter and --prompt belong to --system mistral, not to {system}")
    if system == "light":
        return _light(chosen)
    from clinical.models import mistral_summarizer

    return mistral_summarizer.load(chosen or SMALL_MISTRAL, adapter=adapter, prompt=prompt)


def _light(model: str | None) -> Summarizer:
    from clinical.models.embedder import Embedder
    from clinical.models.salience_heads import SHIPPED
    from clinical.tasks.extracts import LightSummarizer

    if model not in (None, SHIPPED):
        raise UsageError(f"--system light has one model, {SHIPPED}; --model belongs to --system mistral")
    return LightSummarizer(Embedder())


def summarize(
    notes: Sequence[Note],
    summarizer: Summarizer,
    style: str = "brief",
    *,
    strict: bool = False,
    max_sentences: int | None = None,
    recognizer: Recognizer | None = None,
) -> list[Summary]:
    """Return the summary of each note, its sentences checked against the note, with what was left out.

    With `strict` the sentences that the note does not bear out are dropped and counted. `recognizer` finds the
    entities; without one it is that of the light system.
    """
    style = style_named(style)
    recognizer = recognizer or _recognizer()
    return [
        _summary(note, entities, summarizer, style, recognizer, strict, max_sentences)
        for note, entities in zip(notes, entities_of(notes, recognizer), strict=True)
    ]


def entities_of(notes: Sequence[Note], recognizer: Recognizer) -> list[Sequence[Entity]]:
    """Return the entities of each note as summaries are checked by them: a finding with its body part is one."""
    return [
        whole_mentions(note.text, found.entities)
        for note, found in zip(notes, extract(notes, recognizer), strict=True)
    ]


@cache
def _recognizer() -> Recognizer:
    return load_recognizer("light", scheme="clinical")


def together(
    notes: Sequence[Note],
    summarizer: Summarizer,
    *,
    strict: bool = False,
    max_sentences: int | None = None,
    recognizer: Recognizer | None = None,
) -> Summary:
    """Return one patient's documents as one timeline; every source and omission names its document.

    `max_sentences` is for each document. The headings are dates, the earliest first.
    """
    recognizer = recognizer or _recognizer()
    entries: list[tuple[Date, int, SummarySentence]] = []
    warnings: list[str] = []
    documents: list[Document] = []
    dropped = 0
    for place, (note, entities) in enumerate(zip(notes, entities_of(notes, recognizer), strict=True)):
        summary = _summary(note, entities, summarizer, "brief", recognizer, strict, max_sentences)
        document = Document(note, entities, date_of(note))
        documents.append(document)
        entries += [(date, place, sentence) for date, sentence in _entries(document, summary)]
        warnings += [f"{note.id}: {warning}" for warning in summary.warnings]
        dropped += summary.dropped
    entries.sort(key=lambda entry: entry[:2])
    return Summary(
        TIMELINE,
        summarizer.system,
        summarizer.model,
        tuple(sentence for _, _, sentence in entries),
        tuple(_omitted(documents, [sentence.text for _, _, sentence in entries])),
        tuple(warnings),
        dropped,
        {"documents": [_listed(document) for document in documents]},
        tuple(find_conflicts(documents)),
    )


def _omitted(documents: Sequence[Document], said: Sequence[str]) -> list[Omission]:
    """What no entry of the timeline names, each thing once, at the document that has it first."""
    found: dict[tuple[str, frozenset[str]], Omission] = {}
    for document in documents:
        for omission in find_omissions(document.note, document.entities, said):
            kind = (omission.label, content(omission.text))
            found.setdefault(kind, replace(omission, id=document.note.id))
    return list(found.values())


_LAST: Date = (9999, 0, 0)


def _entries(document: Document, summary: Summary) -> Iterator[tuple[Date, SummarySentence]]:
    """Yield what a document adds to the timeline: its summary at its date, what names another day at that one."""
    text = document.note.text
    other_day = {unit.start: (date, unit) for date, unit in dated_units(document)}
    for sentence in summary.sentences:
        sources = tuple(replace(source, id=document.note.id) for source in sentence.sources)
        moved = next((other_day.pop(source.start) for source in sources if source.start in other_day), None)
        date = moved[0] if moved else document.date
        yield date or _LAST, replace(sentence, sources=sources, heading=shown_date(date))
    for date, unit in other_day.values():
        sources = tuple(Source(start, end, text[start:end], document.note.id) for start, end in unit.spans)
        yield date, SummarySentence(unit.text, sources, "supported", (), shown_date(date))


def _listed(document: Document) -> dict[str, str | None]:
    date = None if document.date is None else shown_date(document.date)
    return {"id": document.note.id, "path": document.note.path, "date": date}


def _summary(
    note: Note,
    entities: Sequence[Entity],
    summarizer: Summarizer,
    style: str,
    recognizer: Recognizer,
    strict: bool,
    max_sentences: int | None,
) -> Summary:
    drafts = _weightiest(summarizer.draft(note, style, entities=entities), max_sentences)
    checked = Support(note, entities).check(drafts, recognizer)
    kept = [sentence for sentence in checked if not (strict and sentence.support == "unsupported")]
    return Summary(
        style,
        summarizer.system,
        summarizer.model,
        tuple(kept),
        # What the recognizer finds in another language are no facts.
        ()
        if foreign_document(note.text)
        else tuple(find_omissions(note, entities, [_said(sentence) for sentence in kept])),
        (*note.warnings, *remarks(note.text, drafts)),
        len(checked) - len(kept),
    )


def _said(sentence: SummarySentence) -> str:
    """What a sentence names; its heading is part of it, as in a problem list."""
    return f"{sentence.heading or ''}\n{sentence.text}"


def _weightiest(drafts: Sequence[Draft], most: int | None) -> list[Draft]:
    """The drafts that weigh most, in their order; of equals the first."""
    if most is None or len(drafts) <= most:
        return list(drafts)
    places = sorted(range(len(drafts)), key=lambda place: -drafts[place].weight)[:most]
    return [drafts[place] for place in sorted(places)]
