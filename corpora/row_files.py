"""Reads training rows from files: JSON lines, JSON lists and tables, a user's own or a corpus's.

    read_file(Path("chat.jsonl"))
    read_file(Path("fragen.csv"), columns=parse_columns("question=Frage,answer=Antwort"))

Each entry is recognised by its keys: `messages` (OpenAI) or `conversations` (ShareGPT), a text with tags (Baize's
`input`, Gath_baize's `chat_sample`), `question` and `answer` under their usual names, or a plain `text`. A column
map says how a file calls them.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clinical.corpora.chat_tags import is_tagged, read_tagged
from clinical.corpora.rows import ROLES, Fault, Row, Rows, Turn, conversation, question_and_answer
from clinical.errors import UsageError

# What a file may call what we call by the first name, in lower case.
NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "uuid", "qid"),
    "messages": ("messages", "conversations", "conversation"),
    "chat": ("chat", "chat_sample", "conversation_text"),
    "system": ("system", "system_prompt"),
    "context": ("context", "passage"),
    "question": ("question", "prompt", "instruction", "query", "source", "user"),
    "answer": ("answer", "completion", "response", "output", "target", "assistant"),
    "text": ("text",),
}
SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".json", ".json.gz", ".csv", ".csv.gz", ".tsv")
UNANSWERED = "last questions without an answer (cut off)"
_SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
Columns = Mapping[str, str]


def parse_columns(text: str, known: Iterable[str] = NAMES) -> dict[str, str]:
    """Return the column map that is written as `question=Frage,answer=Antwort`; raises `UsageError` for another.

    `known` are the names on the left that there are.

    >>> parse_columns("question=Frage, answer=Antwort")
    {'question': 'Frage', 'answer': 'Antwort'}
    """
    columns: dict[str, str] = {}
    for entry in text.split(","):
        ours, equals, theirs = (part.strip() for part in entry.partition("="))
        if not equals or not theirs:
            raise UsageError(f"column map {entry.strip()!r}: write question=Frage,answer=Antwort")
        if ours not in known:
            raise UsageError(f"column map: no column {ours!r} of ours; there are {', '.join(known)}")
        columns[ours] = theirs
    return columns


def read_file(path: Path, columns: Columns | None = None, where: Mapping[str, str] | None = None) -> Rows:
    """Return the rows of a file with its faults, each with its line.

    `where` keeps the entries whose columns have these values; how many it leaves out is counted. Raises
    `UsageError` for a file that is not there, or of a kind that is not read.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    kind = path.name.lower().removesuffix(".gz")
    readers: dict[str, Callable[[str, _Reading], None]] = {
        ".jsonl": _read_lines,
        ".ndjson": _read_lines,
        ".json": _read_list,
        ".csv": _read_table,
        ".tsv": _read_table,
    }
    suffix = next((suffix for suffix in readers if kind.endswith(suffix)), None)
    if suffix is None:
        raise UsageError(f"{path}: not a kind of file that is read; give one of {', '.join(SUFFIXES)}")
    reading = _Reading(path, dict(columns or {}), dict(where or {}))
    try:
        content = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode(
            "utf-8-sig"
        )
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        reading.fault(line, "a byte that is not UTF-8; save the file as UTF-8")
    except (OSError, EOFError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    else:
        readers[suffix](content, reading)
    found = reading.found
    if not (found.rows or found.faults or found.passed_over):
        reading.fault(1, "holds no rows")
    return found


class _Reading:
    """One file that is being read: what is asked of it, and what was found so far."""

    def __init__(self, path: Path, columns: dict[str, str], where: dict[str, str]) -> None:
        self.path, self.columns, self.where = path, columns, where
        self.unit = "line"
        self.found = Rows(files=[path])

    def fault(self, line: int, reason: str) -> None:
        self.found.faults.append(Fault(str(self.path), line, reason, self.unit))

    def take(self, line: int, record: Any) -> None:
        """Add one entry as a row, or what is wrong with it as a fault."""
        if not isinstance(record, dict):
            self.fault(line, "not an object with named values")
            return
        for key, value in self.where.items():
            if str(record.get(key)) != value:
                self.found.passed_over[f"entries whose {key} is not {value}"] += 1
                return
        try:
            row, unanswered = _row(record, self.columns, f"{self.path.name}:{line}")
        except ValueError as error:
            self.fault(line, str(error))
            return
        if unanswered:
            self.found.passed_over[UNANSWERED] += 1
        self.found.rows.append(replace(row, place=f"{self.path.name} {self.unit} {line}"))


def _read_lines(content: str, reading: _Reading) -> None:
    # Not splitlines(): a line of JSON may hold U+2028.
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                reading.fault(number, f"not valid JSON ({_json_fault(error)})")
            else:
                reading.take(number, record)


def _read_list(content: str, reading: _Reading) -> None:
    try:
        entries = json.loads(content)
    except json.JSONDecodeError as error:
        reading.fault(error.lineno, f"not valid JSON ({error.msg})")
        return
    if isinstance(entries, dict):
        entries = [
            {"id": key, **entry} if isinstance(entry, dict) else entry for key, entry in entries.items()
        ]
    if not isinstance(entries, list):
        reading.fault(1, "not a list of objects")
        return
    reading.unit = "entry"
    for number, entry in enumerate(entries, 1):
        reading.take(number, entry)


def _json_fault(error: Exception) -> str:
    return f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _read_table(content: str, reading: _Reading) -> None:
    csv.field_size_limit(1 << 27)
    head = content.split("\n", 1)[0]
    delimiter = max(",;\t|", key=head.count)
    rows = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    for begins, row in _numbered(rows, reading):
        if names is None:
            names = [name.strip() for name in row]
            if len(set(names)) < len(names):
                reading.fault(1, f"two columns of one name: {', '.join(names)}")
                return
        elif len(row) != len(names):
            reading.fault(begins, f"{len(row)} cells under {len(names)} columns")
        else:
            reading.take(begins, dict(zip(names, row, strict=True)))


def _numbered(rows: Any, reading: _Reading) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the rows of a table that are not blank, each with the number of its first line."""
    while True:
        begins = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            reading.fault(begins, f"not a valid table from here on ({error})")
            return
        if row is None:
            return
        if row:
            yield begins, row


def _row(record: Mapping[str, Any], columns: Columns, identifier: str) -> tuple[Row, str]:
    """Return the row of an entry and the question that it leaves open; raises `ValueError` for what is none."""
    values = _named(record, columns)
    own = values.get("id")
    identifier = str(own) if own not in (None, "") else identifier
    if "messages" in values:
        return Row(identifier, conversation(_turns(values["messages"]))), ""
    chat = values.get("chat") or next(
        (
            value
            for value in (record.get("input"), record.get("text"))
            if isinstance(value, str) and is_tagged(value)
        ),
        None,
    )
    if chat is not None:
        turns, unanswered = read_tagged(_string(chat, "chat"))
        return Row(identifier, turns), unanswered
    if "question" in values and "answer" in values:
        fields = {name: _string(value, name) for name, value in values.items() if name != "id"}
        # Alpaca's layout: what the instruction is about stands in `input`.
        if isinstance(record.get("input"), str) and "context" not in fields:
            fields["context"] = record["input"]
        fields = {key: value for key, value in fields.items() if key != "text"}
        turns = question_and_answer(
            fields["question"], fields["answer"], fields.get("context", ""), fields.get("system", "")
        )
        return Row(identifier, turns, fields=fields), ""
    if "text" in values:
        text = _string(values["text"], "text")
        if not text.strip():
            raise ValueError("the text is empty")
        return Row(identifier, text=text, fields={"text": text}), ""
    raise ValueError(
        f"neither messages, nor question and answer, nor text among its names ({', '.join(map(str, record))}); "
        "say how it calls them: question=…,answer=…"
    )


def _named(record: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """Return the values of an entry by our names: those of the column map alone, or the usual ones."""
    if columns:
        missing = [theirs for theirs in columns.values() if theirs not in record]
        if missing:
            raise ValueError(f"no {', '.join(missing)}; it has: {', '.join(map(str, record))}")
        return {ours: record[theirs] for ours, theirs in columns.items()}
    known = {str(key).strip().lower(): value for key, value in record.items()}
    found: dict[str, Any] = {}
    for ours, usual in NAMES.items():
        theirs = next((name for name in usual if name in known), None)
        if theirs is not None:
            found[ours] = known[theirs]
    return found


def _string(value: Any, name: str) -> str:
    if value is None:
        raise ValueError(f"the {name} is empty")
    if not isinstance(value, str):
        raise ValueError(f"its {name} is no text")
    return value


def _turns(messages: Any) -> list[Turn]:
    if not isinstance(messages, list):
        raise ValueError("its messages are no list")
    return [_turn(message, number) for number, message in enumerate(messages, 1)]


def _turn(message: Any, number: int) -> Turn:
    if not isinstance(message, dict):
        raise ValueError(f"turn {number} is not an object")
    speaker = str(message.get("role") or message.get("from") or "").lower()
    content = message.get("content", message.get("value"))
    if isinstance(content, list):  # OpenAI's parts
        content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
    if speaker not in _SPEAKERS:
        raise ValueError(f"turn {number} has the role {speaker!r}; there are {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise ValueError(f"turn {number} has no text")
    role = _SPEAKERS[speaker]
    return Turn("system" if role == "system" else "user" if role == "user" else "assistant", content)
