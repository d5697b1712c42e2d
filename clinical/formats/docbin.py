"""spaCy's DocBin: one binary file of `Doc`s, read with `DocBin().from_disk(path).get_docs(vocab)`.

`doc.text` is the text of the note, and words are cut at the edges of entities, so `span.start_char` and
`span.end_char` are exact. `doc.spans["clinical"]` holds every entity; `doc.ents`, which must not overlap,
the longest ones. `doc.user_data["clinical"]` is the record of the output contract (id, system, scores,
assertions, …); `span.id_` is the place of the entity in its list.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from clinical.documents.annotations import Entity, Extraction
from clinical.documents.note import Note
from clinical.formats.streams import binary_sink
from clinical.formats.tokens import cut

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span
    from spacy.vocab import Vocab

KEY = "clinical"


class DocBinWriter:
    """Keeps the documents, some tens of bytes a word, until `close`: DocBin compresses all as one."""

    def __init__(self, stream: IO[str] | IO[bytes]) -> None:
        from spacy.tokens import DocBin
        from spacy.vocab import Vocab

        self._sink = binary_sink(stream)
        self._vocab = Vocab()
        self._docs = DocBin(attrs=["ORTH", "SPACY", "ENT_IOB", "ENT_TYPE"], store_user_data=True)

    def write(self, note: Note, extraction: Extraction) -> None:
        """Add one document."""
        self._docs.add(as_doc(self._vocab, note, extraction))

    def close(self) -> None:
        """Write all documents."""
        self._sink(self._docs.to_bytes())


def as_doc(vocab: Vocab, note: Note, extraction: Extraction) -> Doc:
    """Return the note with its entities as spaCy keeps them."""
    from spacy.tokens import Doc
    from spacy.util import filter_spans

    words, spaces = _words(note.text, extraction)
    doc = Doc(vocab, words=words, spaces=spaces)
    spans = [_span(doc, entity, place) for place, entity in enumerate(extraction.entities)]
    doc.spans[KEY] = spans
    doc.ents = filter_spans(spans)
    doc.user_data[KEY] = extraction.as_dict()
    return doc


def _span(doc: Doc, entity: Entity, place: int) -> Span:
    span = doc.char_span(entity.start, entity.end, label=entity.label, span_id=str(place))
    assert span is not None, "words are cut at the edges of entities"
    return span


def _words(text: str, extraction: Extraction) -> tuple[list[str], list[bool]]:
    """Return the words, and whether a blank follows each: spaCy counts one blank to the word before it.

    A blank in which an entity begins or ends stays a word of its own.
    """
    starts = {entity.start for entity in extraction.entities}
    ends = {entity.end for entity in extraction.entities}
    words: list[str] = []
    spaces: list[bool] = []
    for start, end in cut(text, starts | ends):
        piece = text[start:end]
        if piece == " " and words and not spaces[-1] and start not in starts and end not in ends:
            spaces[-1] = True
        else:
            words.append(piece)
            spaces.append(False)
    return words, spaces
