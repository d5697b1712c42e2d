"""Questions on a text, with the sentences that answer them: what answers are measured by and selectors trained on.

    for item in read_questions("medquad:dev"):                              # doctest: +SKIP
        print(item.question, [item.sentence(number) for number in sorted(item.answers)])

`read_questions` takes a split of a corpus (`medquad:dev`, `pubmedqa:test`), MASHQA's own files (`mashqa:FILE`, which
the user brings), or a file of this project's simple shape, JSON lines, one question on one text a line:

    {"id": "q1", "question": "Why was warfarin stopped?", "text": "…", "answers": ["It was stopped after a bleed."]}

`answers` quote the text word for word; each sentence that a quotation touches is an answer. Optional keys:
`title`, `sentences` (pairs `[start, end)`; else the text is split), `decision` (yes, no or maybe).

`read_folder` takes questions on folders of notes, where the right note has to be found first: a folder with
`questions.jsonl`, each with the folder of notes it is asked of, and quotations with their file:

    {"id": "baker-1", "split": "dev", "folder": "baker", "question": "Which anticoagulant was stopped, and why?",
     "answers": [{"file": "2023-11-hospital.txt", "text": "Rivaroxaban was stopped on admission …"}]}
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinical.corpora.catalog import find
from clinical.corpora.rows import all_faults
from clinical.documents.sentences import split_sentences
from clinical.errors import UsageError

QUESTION_COLUMNS = ("id", "question", "text", "answers", "title", "sentences", "decision")
DECISIONS = ("yes", "no", "maybe")


@dataclass(frozen=True)
class QuestionOnText:
    """One question, one text, and the numbers of its sentences that answer; none: the text does not tell.

    `sentences` are half-open spans of the text in code points. `decision` is the answer to a yes/no question.
    `answers` is `None` where only the decision is known.
    """

    id: str
    question: str
    text: str
    sentences: tuple[tuple[int, int], ...]
    answers: frozenset[int] | None
    title: str = ""
    decision: str | None = None

    def sentence(self, number: int) -> str:
        """Return the text of a sentence."""
        start, end = self.sentences[number]
        return self.text[start:end]


def read_questions(
    source: str, limit: int | None = None, columns: Mapping[str, str] | None = None
) -> list[QuestionOnText]:
    """Return the questions of a source, the first `limit` of them.

    `columns` says how a file of the user calls `QUESTION_COLUMNS`. Raises `UsageError` for what is not there or is
    not of the shape, with the lines of a file.
    """
    found, _ = read_questions_and_faults(source, limit, columns)
    return found


def read_questions_and_faults(
    source: str, limit: int | None = None, columns: Mapping[str, str] | None = None
) -> tuple[list[QuestionOnText], Sequence[str]]:
    """Return what `read_questions` does, and what was wrong with questions that were left out: MASHQA has such."""
    from clinical.corpora import mashqa, medquad_questions, pubmedqa

    faults: Sequence[str] = ()
    name, _, rest = source.partition(":")
    if name == "mashqa":
        if not rest:
            raise UsageError("mashqa needs its file: mashqa:test_webmd_squad_v2_full.json")
        of_file = mashqa.read(Path(rest))
        items: Iterator[QuestionOnText] = iter(of_file.questions)
        faults = of_file.faults
    elif Path(source).is_file():
        items = iter(_own(Path(source), columns or {}))
    elif name == "medquad":
        items = medquad_questions.read(rest or "dev")
    elif name == "pubmedqa":
        items = pubmedqa.read(rest or "dev")
    else:
        find(name)  # names the corpora there are
        raise UsageError(
            f"{source}: no questions with answer sentences; give medquad:SPLIT, pubmedqa:SPLIT, mashqa:FILE or a file"
        )
    found = [item for _, item in zip(range(limit), items, strict=False)] if limit else list(items)
    if not found:
        raise UsageError(f"{source} holds no question")
    return found, faults


@dataclass(frozen=True)
class QuestionOnFolder:
    """A question on all notes of a folder; `answers` are the quotations, by file. None: the notes do not tell."""

    id: str
    question: str
    folder: Path
    answers: tuple[tuple[str, str], ...]
    split: str = ""


def read_folder(folder: Path, split: str = "") -> list[QuestionOnFolder]:
    """Return the questions of a folder, those of one split where it is named.

    Raises `UsageError` for what is not there or not of the shape, and for a quotation that is not in its file.
    """
    file = folder / "questions.jsonl"
    if not file.is_file():
        raise UsageError(f"{file} is missing; a folder of questions holds it beside the notes")
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(_on_folder(json.loads(line), folder))
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise UsageError(f"{file}, line {number}: is not a question on a folder ({reason})") from error
    known = sorted({item.split for item in found})
    found = [item for item in found if split in ("", item.split)]
    if not found:
        raise UsageError(f"{file} holds no question of split {split!r}; there are: {', '.join(known)}")
    return found


def _on_folder(record: Mapping[str, Any], folder: Path) -> QuestionOnFolder:
    notes = folder / str(record["folder"])
    answers = tuple((str(answer["file"]), str(answer["text"])) for answer in record["answers"])
    for name, quote in answers:
        _place((notes / name).read_text(encoding="utf-8"), quote)
    return QuestionOnFolder(
        str(record["id"]), str(record["question"]), notes, answers, str(record.get("split", ""))
    )


def touched(sentences: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> frozenset[int]:
    """Return the numbers of the sentences that share a character with one of the spans."""
    return frozenset(
        number
        for number, (start, end) in enumerate(sentences)
        if any(first < end and start < last for first, last in spans)
    )


def _own(path: Path, columns: Mapping[str, str]) -> list[QuestionOnText]:
    found: list[QuestionOnText] = []
    faults: list[str] = []
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        found.append(_question(_named(json.loads(line), columns), f"{path.name}#{number}"))
                    except (ValueError, KeyError, TypeError, AttributeError) as error:
                        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
                        faults.append(f"{path}, line {number}: is not a question on a text ({reason})")
    except (UnicodeDecodeError, gzip.BadGzipFile) as error:
        raise UsageError(f"{path}: not JSON lines in UTF-8 ({error})") from error
    if faults:
        raise all_faults(faults)
    return found


def _named(record: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Return a record with its values under our names, those that the map does not name as they are."""
    return {**record, **{ours: record[theirs] for ours, theirs in columns.items()}}


def _question(record: Mapping[str, Any], place: str) -> QuestionOnText:
    text = str(record["text"])
    sentences = tuple(
        (int(start), int(end)) for start, end in record.get("sentences") or split_sentences(text)
    )
    if any(not 0 <= start < end <= len(text) for start, end in sentences):
        raise ValueError("a sentence lies outside the text")
    decision = record.get("decision")
    if decision is not None and decision not in DECISIONS:
        raise ValueError(f"the decision is {decision!r}, not {', '.join(DECISIONS)}")
    quoted = record.get("answers")
    answers = None if quoted is None else touched(sentences, [_place(text, str(quote)) for quote in quoted])
    return QuestionOnText(
        str(record.get("id", place)),
        str(record["question"]),
        text,
        sentences,
        answers,
        str(record.get("title") or ""),
        decision,
    )


def _place(text: str, quote: str) -> tuple[int, int]:
    start = text.find(quote)
    if start < 0 or not quote.strip():
        raise ValueError(f"the answer {quote[:40]!r} is not in the text")
    return start, start + len(quote)
