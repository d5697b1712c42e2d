"""`clinical evaluate ner`: what it asks of the systems, what it scores, and what it prints, word for word."""

import csv
import gzip
import io
import itertools
import json
import os
import re

import pytest
from click.testing import CliRunner

from clinical.commands import evaluate_ner as command
from clinical.commands.evaluate import evaluate
from clinical.commands.evaluate_ner import SystemSpec, parse_system
from clinical.documents.annotations import Entity
from clinical.errors import UsageError
from clinical.prompts.labels import by_name
from clinical.scoring import evaluation
from clinical.scoring.evaluation import one_thread

TEXTS = ["Fever since May.", "No cough, no fever.", "Given aspirin in May for pneumonia."]
WORDS = {
    "fever": "Symptom",
    "cough": "Symptom",
    "aspirin": "Medication",
    "pneumonia": "Disease",
    "may": "Date",
}


class WordList:
    """A recognizer that knows some words; it keeps what it was asked."""

    def __init__(self, model: str, known: dict[str, str], only: tuple[str, ...] = ()) -> None:
        self.system, self.model, self.known, self.only = "words", model, known, only
        self.asked: list[tuple[list[str], list[str]]] = []

    def recognize(self, texts, labels):
        names = [label.name for label in labels]
        if self.only and set(names) - set(self.only):
            raise UsageError("unknown label")
        self.asked.append((list(texts), names))
        return [
            [
                Entity(m.start(), m.end(), m.group(), label)
                for m in re.finditer(r"\w+", text)
                if (label := self.known.get(m.group().lower())) in names
            ]
            for text in texts
        ]


def find(text: str, **words: str) -> list[dict[str, object]]:
    return [
        {"start": text.lower().index(word), "end": text.lower().index(word) + len(word), "label": label}
        for word, label in words.items()
    ]


@pytest.fixture
def gold(tmp_path):
    path = tmp_path / "gold.jsonl"
    entities = [
        find(TEXTS[0], fever="Symptom", may="Date"),
        find(TEXTS[1], cough="Symptom", fever="Symptom"),
        [
            *find(TEXTS[2], aspirin="Medication", pneumonia="Disease"),
            {"start": 6, "end": 9, "label": "Other"},
        ],
    ]
    records = [
        {"id": i, "text": t, "entities": e} for i, (t, e) in enumerate(zip(TEXTS, entities, strict=True))
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


@pytest.fixture
def systems(monkeypatch):
    without_cough = {word: label for word, label in WORDS.items() if word != "cough"}
    loaded = {
        "light": WordList("full", WORDS),
        "scispacy": WordList("no-cough", without_cough),
        "light@drugs": WordList("drugs", WORDS, only=("Medication", "Disease")),
        "mistral:calls-all-disease": WordList("lumps", WORDS | {"fever": "Disease", "cough": "Disease"}),
    }
    monkeypatch.setattr(SystemSpec, "load", lambda self: loaded[self.text])
    # Every text takes the same time, so that the table can be compared as a whole.
    wall, cpu = itertools.count(), itertools.count()
    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: next(wall) / 10)
    monkeypatch.setattr(evaluation.time, "process_time", lambda: next(cpu) / 20)
    return loaded


def run(*arguments: str) -> str:
    result = CliRunner().invoke(evaluate, ["ner", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_table(gold, systems):
    assert run("--gold", gold, "--systems", "light,scispacy", "--per-label") == TABLE.replace("GOLD", gold)


def test_what_the_systems_are_asked(gold, systems):
    run("--gold", gold, "--limit", "2")
    (accepted, warm_up, texts) = systems["light"].asked[-3:]
    assert (accepted[0], warm_up[0]) == ([], [evaluation.WARM_UP])
    # In the order of the label set, with labels that occur only behind the limit; Other is none of them.
    assert texts == (TEXTS[:2], ["Disease", "Symptom", "Medication", "Date"])


def test_labels_are_scored_that_every_system_knows(gold, systems):
    (result,) = json.loads(run("--gold", gold, "--systems", "light,light@drugs", "--format", "json"))
    assert result["labels"] == ["Disease", "Medication"]
    assert result["remarks"] == [
        "Not asked for: Other.",
        "Not scored, since light@drugs does not know it: Symptom, Date.",
    ]
    assert [system["strict"]["gold"] for system in result["systems"]] == [2, 2]


def test_labels_are_chosen(gold, systems):
    (result,) = json.loads(run("--gold", gold, "--labels", "symptom", "--format", "json"))
    assert result["labels"] == ["Symptom"]
    assert result["systems"][0]["strict"] == {
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "correct": 3,
        "partial": 0,
        "gold": 3,
        "predicted": 3,
        "f1_interval": [0.0, 1.0],
        "macro_f1": 1.0,
    }


def test_labels_of_ones_own(tmp_path, gold, systems):
    labels = tmp_path / "labels.yaml"
    labels.write_text("Other: something else\n", encoding="utf-8")
    (result,) = json.loads(run("--gold", gold, "--labels-file", str(labels), "--format", "json"))
    assert result["labels"] == ["Other"]
    assert systems["light"].asked[-1][1] == ["Other"]


def test_a_label_can_count_as_another_that_the_gold_does_not_keep_apart(tmp_path, systems):
    path = tmp_path / "gold.jsonl"
    text = "Fever and pneumonia."
    record = {"id": 1, "text": text, "entities": find(text, fever="Disease", pneumonia="Disease")}
    path.write_text(json.dumps(record), encoding="utf-8")

    def recall(*more: str) -> float:
        (result,) = json.loads(run("--gold", str(path), "--format", "json", *more))
        return result["systems"][0]["strict"]["recall"]

    assert recall() == 0.5
    assert recall("--count-as", "symptom=Disease") == 1.0
    assert systems["light"].asked[-1][1] == ["Disease", "Symptom"]


def test_where_the_gold_keeps_labels_apart_they_do_not_count_as_each_other(gold, systems):
    lumping = "mistral:calls-all-disease"
    arguments = ("--gold", gold, "--systems", lumping, "--format", "json")
    assert run(*arguments) == run(*arguments, "--count-as", "Symptom=Disease")


def test_seen_and_unseen_mentions_of_a_corpus(tmp_path, monkeypatch, systems):
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path))
    folder = tmp_path / "ner" / "maccrobat"
    folder.mkdir(parents=True)
    for split, text in {"train": "fever", "dev": "Fever. Cough."}.items():
        entities = [
            {"start": m.start(), "end": m.end(), "label": "Sign_symptom", "text": m.group()}
            for m in re.finditer(r"\w+", text)
        ]
        with gzip.open(folder / f"{split}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write(json.dumps({"id": "1", "text": text, "entities": entities}) + "\n")
    (result,) = json.loads(run("--gold", "maccrobat:dev", "--systems", "scispacy", "--format", "json"))
    assert result["systems"][0]["seen"] == {"gold": 1, "recall": 1.0}
    assert result["systems"][0]["unseen"] == {"gold": 1, "recall": 0.0}


def test_csv_has_a_row_for_each_label_and_way(gold, systems):
    rows = list(csv.DictReader(io.StringIO(run("--gold", gold, "--systems", "scispacy", "--format", "csv"))))
    assert len(rows) == (1 + 4) * 4
    assert rows[0] == {
        "gold_standard": gold,
        "system": "scispacy",
        "model": "no-cough",
        "label": "micro",
        "counted": "strict",
        "precision": "0.8333",
        "recall": "0.8333",
        "f1": "0.8333",
        "correct": "5",
        "partial": "0",
        "gold": "6",
        "predicted": "6",
    }


def test_several_gold_standards_one_after_another(gold, systems):
    first, second = json.loads(run("--gold", gold, "--gold", gold, "--format", "json"))
    assert first["systems"][0]["strict"] == second["systems"][0]["strict"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--systems", "light@drugs", "--labels", "Date"],
            "no label to score. Not asked for: Disease, Medication",
        ),
        (["--systems", "@x"], "'@x' is not system"),
        (["--labels", "Symptoms"], "did you mean Symptom"),
        (["--count-as", "Symptom"], "write Symptom=Disease"),
    ],
)
def test_a_wrong_call_says_what_there_is(gold, systems, arguments, said):
    with pytest.raises(UsageError, match=said):
        run("--gold", gold, *arguments)


def test_no_gold_standard_is_a_wrong_call():
    assert CliRunner().invoke(evaluate, ["ner"]).exit_code == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("light", SystemSpec("light", "light", "ours", None)),
        (" light@bc5cdr", SystemSpec("light@bc5cdr", "light", "bc5cdr", None)),
        (
            "mistral:org/model@main:8",
            SystemSpec("mistral:org/model@main:8", "mistral", None, "org/model@main:8"),
        ),
        ("scispacy@a:b/c", SystemSpec("scispacy@a:b/c", "scispacy", "a", "b/c")),
    ],
)
def test_how_a_system_is_named(text, expected):
    assert parse_system(text, "ours") == expected


def test_the_number_of_threads_is_given_back(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    with one_thread():
        assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("1", "1")
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ["MKL_NUM_THREADS"] == "7"


def test_a_system_that_refuses_a_label_is_not_asked_for_it():
    drugs = WordList("drugs", WORDS, only=("Medication",))
    assert [label.name for label in command.unknown_labels(drugs, by_name(["Date", "Medication"]))] == [
        "Date"
    ]


TABLE = """\
GOLD: 3 texts, 13 words, 6 mentions of Disease, Symptom, Medication, Date
Not asked for: Other.
Intervals: 95%, 1,000 bootstrap draws of 3 texts; so few say little.

system    counted      P       R     F1      interval  macro F1
light     strict   85.71  100.00  92.31  80.00-100.00     91.67
          exact    85.71  100.00  92.31  80.00-100.00     91.67
          partial  85.71  100.00  92.31  80.00-100.00     91.67
          type     85.71  100.00  92.31  80.00-100.00     91.67
scispacy  strict   83.33   83.33  83.33  66.67-100.00     86.67
          exact    83.33   83.33  83.33  66.67-100.00     86.67
          partial  83.33   83.33  83.33  66.67-100.00     86.67
          type     83.33   83.33  83.33  66.67-100.00     86.67

system    model     recall of seen  of unseen  words/s  words/CPU s
light     full                   -          -      130          260
scispacy  no-cough               -          -      130          260

label       system    gold       P       R      F1  partial F1  type F1
Disease     light        1  100.00  100.00  100.00      100.00   100.00
            scispacy     1  100.00  100.00  100.00      100.00   100.00
Symptom     light        3  100.00  100.00  100.00      100.00   100.00
            scispacy     3  100.00   66.67   80.00       80.00    80.00
Medication  light        1  100.00  100.00  100.00      100.00   100.00
            scispacy     1  100.00  100.00  100.00      100.00   100.00
Date        light        1   50.00  100.00   66.67       66.67    66.67
            scispacy     1   50.00  100.00   66.67       66.67    66.67

light - scispacy: strict F1 +8.97 (+0.00 to +33.33), p = 0.559 (paired bootstrap)
"""
