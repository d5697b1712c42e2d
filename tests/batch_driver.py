"""A run over generated notes in a process of its own, for tests that kill it.

python batch_driver.py OUT COUNT WORKERS JOURNAL [SECONDS]
"""

from __future__ import annotations

import sys
from pathlib import Path

from fakes import FakeJob

from clinical.batch.progress import progress
from clinical.batch.run import run
from clinical.documents.note import Note


def main() -> None:
    out, count, workers, journal, *seconds = sys.argv[1:]
    job = FakeJob(journal=Path(journal), seconds=float(seconds[0]) if seconds else 0.0, batch_size=2)
    notes = (
        Note(f"ward{n % 7}/{n}.txt", f"Note {n} of Anna", f"in/ward{n % 7}/{n}.txt")
        for n in range(int(count))
    )
    print(run(job, notes, Path(out), progress(None, quiet=True), root=Path(), workers=int(workers)))


if __name__ == "__main__":
    main()
