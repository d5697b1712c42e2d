"""Training rows by the name of their source: a corpus of the catalogue, a file, or a folder.

    read_rows("medquad:train")
    read_rows("meqsum:train,pubmedqa:train")
    read_rows("fragen.csv", columns={"question": "Frage", "answer": "Antwort"})
    read_rows("MedQuAD/")            # the repository of MedQuAD, or a folder with files of rows

The shape of a row stands in `clinical.corpora.rows`, how entries of files are recognised in
`clinical.corpora.row_files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clinical.corpora.catalog import find
from clinical.corpora.corpus_rows import corpus_rows, mashqa_rows
from clinical.corpora.medquad import is_medquad, read_medquad
from clinical.corpora.row_files import SUFFIXES, Columns, read_file
from clinical.corpora.rows import Rows
from clinical.errors import UsageError


def read_rows(source: str, columns: Columns | None = None, where: Mapping[str, str] | None = None) -> Rows:
    """Return the rows of `corpus:split`, of a file or of a folder, or of several of them separated by commas.

    `columns` says how a user's own file calls our columns, `where` keeps the entries whose columns have these
    values. Raises `UsageError` for a source that there is not; what is wrong within one is in `Rows.faults`.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return mashqa_rows(path) if _is_mashqa(path) else read_file(path, columns, where)
    if path.is_dir():
        return _folder(path, columns, where)
    if "," in source:
        together = Rows()
        for part in source.split(","):
            together.add(read_rows(part.strip(), columns, where))
        return together
    name, colon, split = source.partition(":")
    if path.suffix or "/" in source:
        raise UsageError(f"{source}: no such file or folder")
    corpus = find(name)
    if not colon:
        raise UsageError(
            f"{name}: say which split: {', '.join(f'{name}:{split}' for split in corpus.splits)}"
        )
    if columns or where:
        raise UsageError(f"{source} is a corpus whose shape is known; a column map and where are for files")
    return corpus_rows(name, split)


def _folder(folder: Path, columns: Columns | None, where: Mapping[str, str] | None) -> Rows:
    if is_medquad(folder) or next(folder.glob("*.xml"), None):
        return read_medquad(folder)
    files = sorted(path for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES))
    if not files:
        raise UsageError(f"{folder}: holds no rows; {', '.join(SUFFIXES)} and MedQuAD's XML are read")
    together = Rows()
    for path in files:
        together.add(mashqa_rows(path) if _is_mashqa(path) else read_file(path, columns, where))
    return together


def _is_mashqa(path: Path) -> bool:
    """Return whether a file begins as SQuAD's do, with an object whose first list is `data`."""
    if path.suffix != ".json":
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(1 << 16)
    return head.lstrip().startswith("{") and '"data"' in head and '"paragraphs"' in head
