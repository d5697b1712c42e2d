"""An index of a whole collection: to measure how well documents are ranked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from clinical.documents.note import Note
from clinical.errors import ClinicalError
from clinical.index.backend import FileState, IndexedDocument
from clinical.index.passages import Passage, cut
from clinical.index.store import FORMAT, Store, erase
from clinical.index.update import embed
from clinical.models import cache
from clinical.models.embedders import TextEmbedder

DOCUMENTS_AT_ONCE = 256


def open_collection(
    name: str,
    documents: Sequence[Note],
    embedder: TextEmbedder,
    done: Callable[[int], None] = lambda documents: None,
    *,
    whole: bool = True,
) -> Store:
    """Return the index of these documents, kept in the cache; `done` is told how many more are embedded.

    Documents are cut into passages as the notes of a folder are, for all of a document to count (`whole`), or each is
    one passage, of whose meaning an embedder knows the beginning, as far as it reads.
    """
    content = hashlib.sha256(f"{FORMAT} {embedder.id}{' whole' if whole else ''}".encode())
    for document in documents:
        content.update(document.sha256.encode() + (document.title or "").encode())
    file = cache.folder("retrieval") / f"{content.hexdigest()[:16]}.sqlite"
    try:
        store = Store.open(file, [name], embedder.id)
    except ClinicalError:
        # It can be made again, so a damaged one is nothing to ask the user about.
        erase(file)
        store = Store.open(file, [name], embedder.id)
    known = store.files()
    for first in range(0, len(documents), DOCUMENTS_AT_ONCE):
        some = documents[first : first + DOCUMENTS_AT_ONCE]
        # Each part is a file of the index, so that an interrupted run goes on where it was.
        if f"{first}" not in known:
            passages = [cut(note.text) if whole else [Passage(0, len(note.text))] for note in some]
            vectors = embed(some, passages, embedder)
            with store.transaction():
                store.put(
                    FileState(f"{first}", "", 0, 0),
                    [
                        IndexedDocument(note, spans, vector, own_id=note.id)
                        for note, spans, vector in zip(some, passages, vectors, strict=True)
                    ],
                )
        done(len(some))
    with store.writing():
        store.refresh()
    return store
