"""Makes the stored shape (`clinical.corpora.records`) of corpora as their authors publish them.

Each function takes the original files in the order of `clinical.corpora.originals` and writes `train.jsonl.gz`,
`dev.jsonl.gz` and `test.jsonl.gz` into a folder. Published splits are kept; where there is none, a hash of the
document decides. A row whose text also stands in a later split is taken out of the earlier one.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clinical.corpora.medquad import read_medquad
from clinical.corpora.row_files import read_file
from clinical.corpora.rows import Row
from clinical.corpora.workbook import read_sheet
from clinical.errors import ClinicalError

SPLITS = ("train", "dev", "test")
MEDQUAD_PAGES = "2618f4e7575eef35932d5cc878e3aaa382f47fe571edd87d1893bc44f96c950e"
"""The digest of MedQuAD's pages at the commit that is fetched (`pages_digest`)."""
LONG_NOTE = 12
"""In words. Shorter notes ("Noncontributory.") are the same for many patients."""
Record = dict[str, Any]


def write(records: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write records as the stored shape: packed JSON lines, the same bytes for the same records."""
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(lines.encode("utf-8"), mtime=0))


def iob(name: str, originals: Sequence[Path], folder: Path) -> None:
    """A word and its IOB label a line, sentences apart by blank lines; words are joined by single blanks."""
    for split, path in zip(SPLITS, originals, strict=True):
        sentences = _sentences(path.read_text(encoding="utf-8"))
        records = (_tagged(f"{name}-{split}-{number:05d}", words) for number, words in enumerate(sentences))
        write(records, folder / f"{split}.jsonl.gz")


def _sentences(text: str) -> Iterator[list[tuple[str, str]]]:
    words: list[tuple[str, str]] = []
    for line in [*text.split("\n"), ""]:
        if line.strip():
            word, _, label = line.rstrip("\r").rpartition("\t")
            words.append((word.split("\t")[0], label))
        elif words:
            yield words
            words = []


def _tagged(identifier: str, words: Sequence[tuple[str, str]]) -> Record:
    text = ""
    entities: list[Record] = []
    for word, label in words:
        start = len(text) + bool(text)
        text += f" {word}" if text else word
        kind = label[2:]
        # An I that follows nothing of its kind begins a mention, as scorers of IOB read it.
        if label.startswith("I-") and entities and entities[-1]["open"] == kind:
            entities[-1]["end"] = len(text)
        else:
            for entity in entities[-1:]:
                entity["open"] = None
            if kind:
                entities.append({"start": start, "end": len(text), "label": kind, "open": kind})
    for entity in entities:
        del entity["open"]
        entity["text"] = text[entity["start"] : entity["end"]]
    return {"id": identifier, "text": text, "detokenized": False, "entities": entities}


def medquad(originals: Sequence[Path], folder: Path) -> None:
    """The archive of the repository: its pages, split by page."""
    with tempfile.TemporaryDirectory() as unpacked:
        with tarfile.open(originals[0]) as archive:
            archive.extractall(unpacked, filter="data")
        if pages_digest(Path(unpacked)) != MEDQUAD_PAGES:
            raise ClinicalError(
                f"{originals[0].name}: its pages are not those of the commit that was asked for; delete it"
            )
        read = read_medquad(Path(unpacked))
    records = [_page(row) for row in _once(read.rows)]
    for split in SPLITS:
        write([r for r in records if _hundredth(r["document"]) == split], folder / f"{split}.jsonl.gz")


def pages_digest(folder: Path) -> str:
    """Return a digest of all XML files below a folder, by their names within the archive's own folder."""
    digest = hashlib.sha256()
    pages = sorted(folder.rglob("*.xml"), key=lambda path: path.relative_to(folder).parts[1:])
    named = ((Path(*path.relative_to(folder).parts[1:]).as_posix(), path) for path in pages)
    for name, path in sorted(named):
        digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _once(rows: Sequence[Row]) -> list[Row]:
    """Return the rows without those that say the same again on the same page."""
    return list({(row.fields["document"], row.prompt, row.answer): row for row in reversed(rows)}.values())[
        ::-1
    ]


def _page(row: Row) -> Record:
    fields = row.fields
    keys = ("document", "source", "url", "focus", "question", "answer")
    return {"id": row.id, **{key: fields[key] for key in keys}, "question_type": fields["type"]}


def _hundredth(document: str) -> str:
    place = int(_sha1(f"medquad:{document}"), 16) % 100
    return "train" if place < 80 else "dev" if place < 90 else "test"


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def pubmedqa(originals: Sequence[Path], folder: Path) -> None:
    """The labelled questions, and the numbers of the published test set; 50 of the others are dev."""
    questions, test = (json.loads(path.read_text(encoding="utf-8")) for path in originals)
    rest = sorted(set(questions) - set(test), key=lambda pmid: _sha1(f"pubmedqa:{pmid}"))
    splits = {"train": rest[50:], "dev": rest[:50], "test": sorted(test)}
    for split, pmids in splits.items():
        write([_abstract(pmid, questions[pmid]) for pmid in pmids], folder / f"{split}.jsonl.gz")


def _abstract(pmid: str, entry: Mapping[str, Any]) -> Record:
    return {
        "id": pmid,
        "pmid": pmid,
        "question": entry["QUESTION"],
        "contexts": entry["CONTEXTS"],
        "context_labels": entry["LABELS"],
        "meshes": entry["MESHES"],
        "year": entry["YEAR"],
        "long_answer": entry["LONG_ANSWER"],
        "final_decision": entry["final_decision"],
    }


def mts_dialog(originals: Sequence[Path], folder: Path) -> None:
    """A dialogue and the section of a note that was written after it."""

    def record(split: str, row: Mapping[str, str]) -> Record:
        pair = {"source": row["dialogue"], "target": row["section_text"], "section": row["section_header"]}
        return {"id": f"mts-{split}-{row['ID']}", **pair}

    _write_apart(_tables(originals, record), folder, lambda r: [r["source"], *_long(r["target"])])


def aci_bench(originals: Sequence[Path], folder: Path) -> None:
    """A visit's dialogue and its whole note."""

    def record(split: str, row: Mapping[str, str]) -> Record:
        pair = {"source": row["dialogue"], "target": row["note"], "subset": row["dataset"]}
        return {"id": row["encounter_id"], **pair}

    _write_apart(_tables(originals, record), folder, lambda r: [r["source"]])


def opi(originals: Sequence[Path], folder: Path) -> None:
    """The findings of a radiology report and its impression."""
    splits = []
    for path in originals:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        splits.append(
            [{"id": f"opi-{row['idx']}", "source": row["inputs"], "target": row["target"]} for row in rows]
        )
    _write_apart(splits, folder, lambda record: [record["source"]])


def meqsum(originals: Sequence[Path], folder: Path) -> None:
    """A consumer's question and its summary, all of them in one workbook; 100 are dev."""
    rows = read_sheet(originals[0])
    records = [
        {"id": f"meqsum-{number:04d}", "source": row["CHQ"], "target": row["Summary"], "file": row["File"]}
        for number, row in enumerate(rows, 1)
    ]
    order = sorted(records, key=lambda record: _sha1(f"meqsum:{record['id']}"))
    dev = {record["id"] for record in order[:100]}
    train = [record for record in records if record["id"] not in dev]
    _write_apart([train, [r for r in records if r["id"] in dev]], folder, lambda record: [record["source"]])


def chq(originals: Sequence[Path], folder: Path) -> None:
    """A consumer's question and its summary: a workbook for dev and one for test."""
    for split, path in zip(("dev", "test"), originals, strict=True):
        records = [
            {"id": f"chq-{split}-{row['q_id']}", "source": row["NLM Question"], "target": row["Summary"]}
            for row in read_sheet(path)
        ]
        write(records, folder / f"{split}.jsonl.gz")


def baize(originals: Sequence[Path], folder: Path) -> None:
    """Conversations of a language model with itself; those that are none are told and left out."""
    read = read_file(originals[0])
    if read.faults:
        raise ClinicalError(f"{len(read.faults)} entries are no conversations, the first: {read.faults[0]}")
    write([row.to_record() for row in read.rows], folder / "train.jsonl.gz")


def _tables(
    originals: Sequence[Path], record: Callable[[str, Mapping[str, str]], Record]
) -> list[list[Record]]:
    csv.field_size_limit(1 << 27)
    texts = [path.read_text(encoding="utf-8-sig") for path in originals]
    return [
        [_trimmed(record(split, row)) for row in csv.DictReader(io.StringIO(text, newline=""))]
        for split, text in zip(SPLITS, texts, strict=True)
    ]


def _trimmed(record: Record) -> Record:
    return {key: value.replace("\r\n", "\n").strip() for key, value in record.items()}


def _long(note: str) -> list[str]:
    return [note] if len(note.split()) >= LONG_NOTE else []


def _write_apart(
    splits: Sequence[Sequence[Record]], folder: Path, texts: Callable[[Record], Sequence[str]]
) -> None:
    """Write the splits, without the rows of which a text also stands in a later split."""
    later: set[str] = set()
    kept: list[list[Record]] = []
    for records in reversed(splits):
        kept.append([r for r in records if not any(_normal(text) in later for text in texts(r))])
        later |= {_normal(text) for record in records for text in texts(record)}
    for split, records in zip(SPLITS, reversed(kept), strict=False):
        write(records, folder / f"{split}.jsonl.gz")


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())
