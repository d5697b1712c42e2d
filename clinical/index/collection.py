"""An index of a whole collection: to measure how well documents are ranked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack

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
    """Return the index of these documents, kept in the cache; `done` is told how many more are there while it is made.

    Documents are cut into passages as the notes of a folder are, for all of a document to count (`whole`), or each is
    one passage, of whose meaning an embedder knows the beginning, as far as it reads. Raises `Busy` when another
    process is making it.
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
    if len(store.files()) < len(range(0, len(documents), DOCUMENTS_AT_ONCE)):
        with ExitStack() as stack:
            stack.enter_context(store)
            with store.writing():
                _fill(store, documents, embedder, done, whole=whole)
            stack.pop_all()
    return store


def _fill(
    store: Store,
    documents: Sequence[Note],
    embedder: TextEmbedder,
    done: Callable[[int], None],
    *,
    whole: bool,
) -> None:
    """Put what is not there yet into the index, in parts that are files of it, so that an interrupted run goes on."""
    known = store.files()
    for first in range(0, len(documents), DOCUMENTS_AT_ONCE):
        some = documents[first : first + DOCUMENTS_AT_ONCE]
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
    store.refresh()
