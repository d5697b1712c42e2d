"""Training rows of the catalogue's corpora, and of MASHQA's and MedQuAD's own files.

    corpus_rows("medquad", "train")

What a row's question and answer are is said by the task: a question and its answer, a text and its summary, a text
and the same text with its entities tagged. Plain documents become plain texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clinical.corpora import mashqa
from clinical.corpora.catalog import Corpus, find
from clinical.corpora.records import GoldDocument, gold_document, read_records, split_path
from clinical.corpora.rows import Fault, Row, Rows, Turn, conversation, question_and_answer
from clinical.errors import UsageError
from clinical.prompts.inline_tags import write_tags

LEFT_UNTAGGED = "mentions left untagged (nested, or of several pieces)"
UNANSWERABLE = "questions that the article does not answer"
Fields = Mapping[str, str]


def corpus_rows(name: str, split: str) -> Rows:
    """Return the rows of one split; raises `UsageError` when the corpus has none to learn from, or is not here."""
    corpus = find(name)
    if corpus.task in ("retrieval", "assertion", "abbreviations"):
        raise UsageError(f"{name} has no training rows: it measures {corpus.task}")
    path = split_path(corpus, split)
    found = Rows(files=[path])
    make = MAKERS.get(name) or MAKERS[corpus.task]
    for number, record in enumerate(read_records(name, split), 1):
        try:
            rows = make(corpus, record, found)
        except ValueError as error:
            found.faults.append(Fault(path.name, number, str(error)))
        else:
            found.rows += [replace(row, place=f"{path.name} line {number}") for row in rows]
    return found


def _document(corpus: Corpus, record: Mapping[str, Any], found: Rows) -> list[Row]:
    text = str(record["text"])
    if not text.strip():
        raise ValueError("the text is empty")
    return [Row(str(record["id"]), text=text, fields={"text": text})]


def _tagged(corpus: Corpus, record: Mapping[str, Any], found: Rows) -> list[Row]:
    document = gold_document(corpus, record)
    if not document.text.strip():
        raise ValueError("the text is empty")
    spans = _flat(document)
    left = len({(m.start, m.end, m.label) for m in document.mentions if m.label}) - len(spans)
    if left:
        found.passed_over[LEFT_UNTAGGED] += left
    fields = {"text": document.text, "labels": ",".join(corpus.clinical_labels)}
    answer = write_tags(document.text, spans)
    return [Row(document.id, question_and_answer(document.text, answer), fields=fields)]


def _flat(document: GoldDocument) -> list[tuple[int, int, str]]:
    """Return the spans that inline tags can show: of overlapping ones the longest, none that is in pieces."""
    broken = {(m.start, m.end, m.label) for m in document.mentions if m.discontinuous}
    kept: list[tuple[int, int, str]] = []
    for entity in sorted(document.entities, key=lambda e: (e.start - e.end, e.start)):
        span = (entity.start, entity.end, entity.label)
        if span not in broken and all(span[1] <= start or end <= span[0] for start, end, _ in kept):
            kept.append(span)
    return sorted(kept)


def _answered(corpus: Corpus, record: Mapping[str, Any], found: Rows) -> list[Row]:
    return [_pair(record, record["question"], record["answer"])]


def _chat(corpus: Corpus, record: Mapping[str, Any], found: Rows) -> list[Row]:
    return [
        Row(
            str(record["id"]),
            conversation([Turn(turn["role"], turn["content"]) for turn in record["messages"]]),
        )
    ]


def _pubmedqa(corpus: Corpus, record: Mapping[str, Any], found: Rows) -> list[Row]:
    context = "\n".join(record["contexts"])
    return [
        _pair(record, record["question"], record["long_answer"], context, decision=record["final_decision"])
    ]


def _liveqa(corpus: Corpus, record: Mapping[str, Any], found: Rows) -> list[Row]:
    question = record["message"] or record["subject"]
    return [
        replace(_pair(record, question, answer["answer"]), id=f"{record['id']}/{answer['id']}")
        for answer in record["reference_answers"]
    ]


def _summarized(corpus: Corpus, record: Mapping[str, Any], found: Rows) -> list[Row]:
    row = _pair(record, record["source"], record["target"])
    fields = {"text": record["source"], "summary": record["target"]}
    if isinstance(record.get("section"), str):
        fields["section"] = record["section"]
    return [replace(row, fields=fields)]


def _pair(record: Mapping[str, Any], question: str, answer: str, context: str = "", **more: str) -> Row:
    messages = question_and_answer(question, answer, context)
    fields = {"question": question, "answer": answer, "context": context, **more}
    return Row(str(record["id"]), messages, fields={key: value for key, value in fields.items() if value})


# By the name of a corpus that is read in its own way, else by its task.
MAKERS: Mapping[str, Callable[[Corpus, Mapping[str, Any], Rows], list[Row]]] = {
    "ner": _tagged,
    "documents": _document,
    "qa": _answered,
    "chat": _chat,
    "pubmedqa": _pubmedqa,
    "liveqa": _liveqa,
    "summarize": _summarized,
}


def mashqa_rows(path: Path) -> Rows:
    """Return a row for each answered question of a MASHQA file: the answer is its sentences, in their order."""
    read = mashqa.read(path)
    found = Rows(files=[path], faults=[Fault(path.name, None, fault) for fault in read.faults])
    for item in read.questions:
        if not item.answers:
            found.passed_over[UNANSWERABLE] += 1
            continue
        answer = " ".join(_sentences(item.text, item.sentences, sorted(item.answers)))
        fields = {"question": item.question, "context": item.text, "answer": answer, "text": item.text}
        place = f"{path.name} question {item.id}"
        try:
            messages = question_and_answer(item.question, answer, item.text)
        except ValueError as error:
            found.faults.append(Fault(path.name, None, f"question {item.id}: {error}"))
        else:
            found.rows.append(Row(item.id, messages, place=place, fields=fields))
    return found


def _sentences(text: str, spans: Any, numbers: list[int]) -> Iterator[str]:
    for number in numbers:
        start, end = spans[number]
        yield text[start:end].strip()
