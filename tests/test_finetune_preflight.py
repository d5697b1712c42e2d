"""Pre-flight: what is wrong with the data is said, by line, before any weight is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from finetune_base import SENTENCES, recipe

from clinical.errors import UsageError
from clinical.finetune.preflight import Report, look
from clinical.finetune.preparation import Prepared, prepare
from clinical.finetune.preview import preview
from clinical.models import chat


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from clinical.finetune.tokenizer import train_tokenizer
    from clinical.prompts.labels import clinical_labels

    return train_tokenizer(SENTENCES * 3, [label.name for label in clinical_labels()], 450)


def pair(number: int, answer: str = "After a bleed.") -> dict[str, str]:
    return {"question": f"Why was drug {number} stopped?", "answer": answer}


def rows_in(path: Path, rows: list[Any]) -> str:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return f"[{{task: chat, file: {path}}}]"


def looked_at(tokenizer: Any, data: str, *changes: str) -> tuple[Prepared, Report]:
    small = recipe("x", "dev=[]", *changes, data=data)
    prepared = prepare(small, tokenizer, chat.V3)
    return prepared, look(small, prepared, tokenizer, chat.V3)


def test_rows_with_errors_have_their_line(tokenizer: Any, tmp_path: Path) -> None:
    data = rows_in(tmp_path / "a.jsonl", [pair(1), "{broken", {"question": "Why?", "answer": " "}, {"q": 1}])
    _, report = looked_at(tokenizer, data)
    assert [fault.replace(str(tmp_path), "") for fault in report.faults] == [
        "/a.jsonl line 2: not valid JSON (Expecting property name enclosed in double quotes, column 2)",
        "/a.jsonl line 3: the answer is empty",
        "/a.jsonl line 4: neither messages, nor question and answer, nor text among its names (q); "
        "say how it calls them: question=…,answer=…",
    ]
    with pytest.raises(UsageError, match="the data have 3 faults; nothing was trained:\n"):
        report.check()


def test_faults_of_one_kind_are_one_line(tokenizer: Any, tmp_path: Path) -> None:
    rows = [{"Frage": "Why?", "Antwort": "So."}] * 3
    _, report = looked_at(tokenizer, rows_in(tmp_path / "a.jsonl", [*rows, "{broken"]))
    assert [fault.replace(str(tmp_path), "") for fault in report.faults] == [
        "/a.jsonl line 1 and 2 more: neither messages, nor question and answer, nor text among its names "
        "(Frage, Antwort); say how it calls them: question=…,answer=…",
        "/a.jsonl line 4: not valid JSON (Expecting property name enclosed in double quotes, column 2)",
    ]


def test_long_rows_are_named_and_refused_unless_allowed(tokenizer: Any, tmp_path: Path) -> None:
    data = rows_in(tmp_path / "a.jsonl", [pair(1), pair(2, "word " * 200), pair(3)])
    prepared, report = looked_at(tokenizer, data, "max_length=64")
    ((place, length),) = prepared.long
    assert place == "a.jsonl line 2"
    assert report.faults == [
        f"1 rows are longer than max_length 64: a.jsonl line 2 ({length}); set max_length={length} (more memory), "
        "or allow_truncated=1 to cut off their ends"
    ]
    prepared, report = looked_at(tokenizer, data, "max_length=64", "allow_truncated=1")
    assert report.faults == []
    assert "their ends are cut off, as allow_truncated permits" in report.warnings[0]
    assert [len(row.ids) for row in prepared.rows][1] == 64


def test_rows_with_nothing_left_to_learn_are_counted(tokenizer: Any, tmp_path: Path) -> None:
    data = rows_in(tmp_path / "a.jsonl", [pair(1), {"question": "word " * 200, "answer": "No."}])
    prepared, report = looked_at(tokenizer, data, "max_length=64", "allow_truncated=1")
    assert (len(prepared.rows), prepared.dropped) == (1, 1)
    assert "1 of them would hold nothing to learn" in report.warnings[0]


def test_duplicates_and_overlap(tokenizer: Any, tmp_path: Path) -> None:
    data = rows_in(tmp_path / "a.jsonl", [pair(1), pair(2), pair(2)])
    rows_in(tmp_path / "dev.jsonl", [pair(2), pair(7)])
    dev = f"dev=[{{task: chat, file: {tmp_path / 'dev.jsonl'}}}]"
    prepared, report = looked_at(tokenizer, data, dev)
    assert "1 rows are the same as others, and are trained on as often as they stand there" in report.warnings
    assert report.warnings[-1] == (
        "1 held-out rows also stand in the training data and are left out of the evaluation"
    )
    assert [row.place for row in prepared.dev] == ["dev.jsonl line 2"]


def test_rows_that_are_the_same_are_held_out_together(tokenizer: Any, tmp_path: Path) -> None:
    data = rows_in(tmp_path / "a.jsonl", [pair(1)] * 20)
    _, report = looked_at(tokenizer, data, "hold_out=0.999")
    assert report.faults == [
        "hold_out: all 20 rows are held out to score on, none is left to train on; they are of one document or "
        "question, of which the rows go together: add others, or set hold_out=0"
    ]
    prepared, report = looked_at(tokenizer, data, "hold_out=0")
    assert (len(prepared.rows), report.faults) == (20, [])
    assert (
        "19 rows are the same as others, and are trained on as often as they stand there" in report.warnings
    )


def test_a_held_out_share_has_no_question_of_the_training_rows(tokenizer: Any, tmp_path: Path) -> None:
    data = rows_in(tmp_path / "a.jsonl", [pair(number % 40) for number in range(80)])
    prepared, _ = looked_at(tokenizer, data, "hold_out=0.3", "evaluate.rows=100")
    assert 0 < len(prepared.dev) < 40
    assert len(prepared.dev) + len(prepared.rows) == 80
    assert not {row.group for row in prepared.dev} & {row.group for row in prepared.rows}


def test_a_note_that_is_held_out_is_held_out_whole_and_scored(tokenizer: Any, tmp_path: Path) -> None:
    def note(number: int) -> dict[str, Any]:
        text = f"Visit {number}. " + "Given aspirin for fever. " * 12
        start = text.index("aspirin")
        return {"text": text, "entities": [[start, start + 7, "Medication"]]}

    rows_in(tmp_path / "a.jsonl", [note(number) for number in range(30)])
    data = f"[{{task: ner, file: {tmp_path / 'a.jsonl'}}}]"
    prepared, _ = looked_at(tokenizer, data, "hold_out=0.3", "chunk_pieces=24")
    assert not {row.group for row in prepared.dev} & {row.group for row in prepared.rows}
    assert len({row.group for row in prepared.dev}) < len(prepared.dev)
    (gold,) = prepared.gold
    assert (len(gold.documents), gold.labels) == (len(prepared.dev), ("Medication",))
    assert {entity.text for document in gold.documents for entity in document.entities} == {"aspirin"}


def test_a_tokenizer_without_an_end_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    data = rows_in(tmp_path / "a.jsonl", [pair(1)])
    prepared, _ = looked_at(tokenizer, data)
    row = prepared.rows[0]
    unended = type(row)(row.ids[:-1], ((row.learned[0][0], len(row.ids) - 1),), "chat", "a.jsonl line 1")
    prepared.rows[0] = unended
    report = look(recipe("x"), prepared, tokenizer, chat.V3)
    assert report.faults == ["1 rows do not learn the end token, the first a.jsonl line 1"]


def test_a_preview_shows_ids_text_and_what_is_learned(tokenizer: Any, tmp_path: Path) -> None:
    prepared, _ = looked_at(tokenizer, rows_in(tmp_path / "a.jsonl", [pair(1)]))
    row = prepared.rows[0]
    shown = list(preview(prepared.rows, tokenizer, colour=False))
    assert shown[0] == f"row 1: chat, a.jsonl line 1; {len(row.ids)} tokens, {row.learned_count} learned"
    assert shown[2] == "  <s>[INST] Why was drug 1 stopped?[/INST]« After a bleed.</s>»"
    listed = " ".join(shown[4:]).split()
    assert [int(word) for word in listed[::2]] == row.ids
    assert sum(word.endswith("*") for word in listed[1::2]) == row.learned_count
    coloured = "".join(preview(prepared.rows, tokenizer, colour=True))
    assert "\x1b[1;32m After a bleed.</s>\x1b[0m" in coloured
