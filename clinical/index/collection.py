"""An index of a whole collection, each document one passage: to measure how well passages are ranked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from clinical.documents.note import Note
from clinical.errors import ClinicalError
from clinical.index.backend import FileState, IndexedDocument
from clinical.index.passages import Passage
from clinical.index.store import FORMAT, Store, erase
from clinical.index.update import embed, embed_whole
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

    The vector of a document is that of the `whole`, or of the beginning, as far as the embedder reads.
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
            passages = [[Passage(0, len(document.text))] for document in some]
            vectors = embed_whole(some, embedder) if whole else embed(some, passages, embedder)
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
