"""Memory: a run over ten thousand documents holds a few of them at a time."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeJob

from clinical.batch.progress import PlainProgress, Tally
from clinical.batch.run import run
from clinical.documents.note import Note

COUNT = 10_000
MOST_NOTES_AT_ONCE = 64


def test_ten_thousand_documents_are_never_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Waiting for the disk ten thousand times is no part of the question.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    living: weakref.WeakSet[Note] = weakref.WeakSet()
    most = 0

    def notes() -> Iterator[Note]:
        nonlocal most
        for n in range(COUNT):
            note = Note(f"{n}.txt", f"Note {n}", f"in/{n}.txt")
            living.add(note)
            most = max(most, len(living))
            yield note

    job = FakeJob(batch_size=16)
    quiet = PlainProgress(None)
    assert run(job, notes(), tmp_path, quiet) == Tally(done=COUNT)
    gc.collect()
    assert most <= MOST_NOTES_AT_ONCE
    assert len(living) <= 1
