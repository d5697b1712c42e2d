"""Named-entity extraction: what is in this document, each finding at exact characters of the file.

    clinical ner note.txt
    clinical ner notes/ -o out/ --system light

Three systems stand behind one interface, `Recognizer`: `light` (a small token classifier on any CPU), `mistral`
(a language model whose answer can only be the note itself with tags in it) and `scispacy` (the baseline).
What a recognizer finds is then placed in its section, its abbreviations are resolved, and its assertion is read
from the words around it; that part is the same for every system.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Protocol

from clinical.documents.annotations import Entity, Extraction
from clinical.documents.note import Note
from clinical.documents.sections import Section, find_sections, section_at
from clinical.documents.sentences import split_sentences
from clinical.errors import UsageError
from clinical.facts.abbreviations import expand_abbreviations
from clinical.facts.assertion import assess
from clinical.facts.language import foreign_document
from clinical.facts.replies import assert_answers
from clinical.facts.units import find_turns, find_units
from clinical.models.settings import SMALL_MISTRAL, choose_system
from clinical.prompts.labels import Label, clinical_labels, core_labels

if TYPE_CHECKING:
    from clinical.models.mistral_tagger import MistralTagger

__all__ = ["SYSTEMS", "Recognizer", "extract", "load_recognizer"]

_log = logging.getLogger(__name__)
SYSTEMS = ("light", "mistral", "scispacy")


class Recognizer(Protocol):
    """One way to find entities. `system` and `model` are printed with every result."""

    @property
    def system(self) -> str:
        """The name of the system."""
        ...

    @property
    def model(self) -> str:
        """The name of the model within the system."""
        ...

    def recognize(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        """Return the entities of each text, sorted by start, only of these labels; offsets count its code points.

        Raises `UsageError` when the system does not know one of the labels.
        """
        ...


def load_recognizer(
    system: str | None = None,
    model: str | None = None,
    *,
    scheme: str | None = None,
    adapter: str | None = None,
    prompt: str | None = None,
) -> Recognizer:
    """Return the system to use, ready to work.

    Without a system: `mistral` when the user has chosen a model (here, in the settings or by `CLINICAL_MODEL`),
    else `light`. `scheme` is the annotation guideline that `light` and `scispacy` follow, by
    default `notes` of the one, `clinical` of the other. Raises `UsageError` for what does not exist or does not go
    together.
    """
    system, chosen = choose_system(system, model, SYSTEMS)
    if system != "mistral" and (adapter or prompt):
        raise UsageError(f"--adapter and --prompt belong to --system mistral, not to {system}")
    if system == "light":
        from clinical.models.light_tagger import LightTagger

        return LightTagger.load(scheme, chosen)
    if system == "scispacy":
        from clinical.models.spacy_baseline import SpacyBaseline

        return SpacyBaseline.load(chosen, scheme or "clinical")
    if scheme:
        raise UsageError("--scheme belongs to light and scispacy; tell mistral what to find by --labels-file")
    from clinical.models.mistral_tagger import MistralTagger

    return MistralRecognizer(MistralTagger.load(chosen or SMALL_MISTRAL, adapter, prompt))


@dataclass(frozen=True)
class MistralRecognizer:
    """A language model as a `Recognizer`; it takes any label that has a definition."""

    tagger: MistralTagger
    system: str = "mistral"

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.tagger.name

    def recognize(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        """Return the entities of each text; their spans cannot be anything but pieces of it."""
        return self.tagger.tag(texts, labels)


def extract(
    notes: Sequence[Note],
    recognizer: Recognizer,
    labels: Sequence[Label] | None = None,
    *,
    assertion: bool = True,
    threshold: float | None = None,
) -> list[Extraction]:
    """Return what the recognizer finds in each note, placed, expanded and (if asked) assessed.

    Without `labels` the core labels are looked for, as far as the recognizer knows them. Entities that score below
    `threshold` are left out; those of systems without scores stay.
    """
    found = recognizer.recognize([note.text for note in notes], labels or default_labels(recognizer))
    return [
        Extraction(
            note.id,
            note.path,
            recognizer.system,
            recognizer.model,
            tuple(_complete(note.text, _above(entities, threshold), assertion)),
            (*note.warnings, *_remarks(note.text)),
        )
        for note, entities in zip(notes, found, strict=True)
    ]


def _remarks(text: str) -> tuple[str, ...]:
    """Return what a reader should know before trusting what was found: that the document is not English."""
    language = foreign_document(text)
    if language is None:
        return ()
    _tell(language)
    return (f"this looks like {language}; the models that ship know English only",)


@cache
def _tell(language: str) -> None:
    """Say so on stderr too, once: of results in a pipe nobody reads the remarks."""
    _log.warning("there are documents in %s; the models that ship know English only", language)


def default_labels(recognizer: Recognizer) -> tuple[Label, ...]:
    """Return what to look for when nobody says: the core labels, as far as the recognizer knows them.

    One that was trained on labels of the user's own looks for those that it was trained on.
    """
    if isinstance(recognizer, MistralRecognizer):
        trained = recognizer.tagger.labels
    else:
        names = getattr(recognizer, "label_names", None)
        trained = tuple(Label(name, name) for name in names()) if names else ()
    if not trained:
        return core_labels()
    own = [label for label in trained if label.name not in {label.name for label in clinical_labels()}]
    core = tuple(label for label in core_labels() if label.name in {label.name for label in trained})
    return trained if own or not core else core


def _above(entities: Sequence[Entity], threshold: float | None) -> list[Entity]:
    return [
        entity
        for entity in entities
        if threshold is None or entity.score is None or entity.score >= threshold
    ]


def _complete(text: str, entities: Sequence[Entity], assertion: bool) -> list[Entity]:
    sections, sentences = find_sections(text), split_sentences(text)
    findings = [entity for entity in entities if not _in_heading(entity, sections)]
    placed = [_placed(entity, sections) for entity in expand_abbreviations(text, findings, sentences)]
    if not assertion:
        return placed
    assessed = assess(text, placed, sections, sentences)
    # "Any fever?" says nothing of a fever; its answer does.
    return assert_answers(text, assessed, find_units(text)) if find_turns(text) else assessed


def _placed(entity: Entity, sections: Sequence[Section]) -> Entity:
    return replace(entity, section=section_at(sections, entity.start))


def _in_heading(entity: Entity, sections: Sequence[Section]) -> bool:
    """Return whether the entity is part of a heading: "ALLERGIES:" says where to look, not what is there."""
    return any(section.start <= entity.start < section.body_start and section.title for section in sections)
