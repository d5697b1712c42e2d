"""The whole way of a user's own rows: trained, killed, resumed, scored, registered, merged, exported, and served.

The rows were written and annotated by hand (`benchmarks/ner/notes`), and are given as an annotation tool exports them:
other names for the columns, spans as triples, labels of one's own. Where the corpora are at hand, the same way is gone
with abstracts of NCBI-disease and the four labels that its annotators used.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from clinical.cli import cli
from clinical.errors import UsageError
from clinical.finetune.recipe import load

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]
NOTES = Path(__file__).parents[1] / "benchmarks" / "ner" / "notes"
COARSE = {
    "Disease": "Problem", "Symptom": "Problem", "Medication": "Treatment", "Procedure": "Treatment", "Test": "Test",
}  # fmt: skip
COLUMNS = "columns: {text: note, entities: spans}"
Span = tuple[int, int, str]


def ncbi_disease() -> dict[str, Path] | None:
    """Return the splits of the corpus on this machine, before a test hides them from itself."""
    from clinical.corpora.catalog import find
    from clinical.corpora.records import split_path

    try:
        return {split: split_path(find("ncbi_disease"), split) for split in ("train", "dev")}
    except UsageError:
        return None


NCBI = ncbi_disease()


@dataclass(frozen=True)
class Rows:
    """A user's rows: two files, what the labels mean, settings that suit them, and the step at which to kill."""

    train: Path
    dev: Path
    labels: Mapping[str, str]
    settings: tuple[str, ...]
    killed_at: int

    @property
    def spans(self) -> list[set[Span]]:
        """The annotated spans of each note that is held out."""
        records = [json.loads(line) for line in self.dev.read_text(encoding="utf-8").splitlines()]
        return [{tuple(span) for span in record["spans"]} for record in records]


def write_rows(path: Path, records: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Path:
    """Write annotated records as doccano would: the text as `note`, the entities as triples `spans`."""
    lines = [
        {
            "note": record["text"],
            "spans": [
                [entity["start"], entity["end"], labels[entity["label"]]]
                for entity in record["entities"]
                if entity["label"] in labels
            ],
        }
        for record in records
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def our_notes(folder: Path) -> Rows:
    """Return the notes that people wrote for this project, with three coarse labels instead of the five."""
    files = {
        split: write_rows(folder / f"{split}.jsonl", records(NOTES / f"{split}.jsonl"), COARSE)
        for split in ("train", "dev")
    }
    labels = {"Problem": "a disease, symptom or finding", "Treatment": "a drug or a procedure"}
    settings = ("train.batch=2", "train.epochs=3", "evaluate.every=63", "save.every=21")
    return Rows(**files, labels=labels, settings=settings, killed_at=22)


def abstracts(folder: Path) -> Rows:
    """Return abstracts of NCBI-disease with the corpus's own four labels."""
    assert NCBI is not None
    files = {}
    for split, count in (("train", 32), ("dev", 8)):
        chosen = records(NCBI[split])[:count]
        kinds = {entity["subtype"] for record in chosen for entity in record["entities"]}
        typed = [
            {**record, "entities": [{**entity, "label": entity["subtype"]} for entity in record["entities"]]}
            for record in chosen
        ]
        files[split] = write_rows(folder / f"{split}.jsonl", typed, {kind: kind for kind in kinds})
    settings = ("train.batch=4", "train.epochs=2", "evaluate.every=40", "save.every=20")
    return Rows(**files, labels={}, settings=settings, killed_at=22)


def records(path: Path) -> list[dict[str, Any]]:
    import gzip

    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


def call(rows: Rows, out: Path) -> list[str]:
    """Return the arguments that train on these rows."""
    settings = (
        f"data=[{{task: ner, file: {rows.train}, {COLUMNS}}}]",
        f"dev=[{{task: ner, file: {rows.dev}, {COLUMNS}}}]",
        f"labels={json.dumps(rows.labels)}",
        "train.learning_rate=3e-3",
        "train.log_every=2",
        "lora={r: 64, alpha: 128}",
        *rows.settings,
    )
    return [
        "finetune",
        "mini-ner",
        "--out",
        str(out),
        *(word for each in settings for word in ("--set", each)),
    ]


def kill_at(step: int, arguments: Sequence[str]) -> None:
    """Train in a process of its own until this step is told, and kill it."""
    words = [sys.executable, "-m", "clinical", *arguments]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if re.match(rf"step +{step} of ", line):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The order of a sum depends on how many threads share it."""
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("read", "gain"),
    [
        pytest.param(our_notes, 8, id="notes"),
        pytest.param(
            abstracts,
            8,
            id="ncbi_disease",
            marks=pytest.mark.skipif(
                NCBI is None,
                reason="NCBI-disease is not here: clinical corpora pull ncbi_disease, or set CLINICAL_CORPORA",
            ),
        ),
    ],
)
def test_from_a_users_rows_to_a_served_model(
    read: Any, gain: float, tmp_path: Path, record_property: Any
) -> None:
    rows: Rows = read(tmp_path)
    base = load("mini-ner").base
    trained, straight = tmp_path / "mine", tmp_path / "straight"

    invoke(*call(rows, straight))
    card = json.loads((straight / "clinical.json").read_text(encoding="utf-8"))
    kill_at(rows.killed_at, call(rows, trained))
    assert steps(trained) < steps(straight)
    invoke(*call(rows, trained), "--resume")
    weights = "adapter_model.safetensors"
    assert (trained / weights).read_bytes() == (straight / weights).read_bytes()
    assert json.loads((trained / "clinical.json").read_text(encoding="utf-8")) == card

    record_property("before", card["before_training"])
    record_property("after", card["dev_score"])
    print(
        f"strict F1 {card['before_training']:.1f} before, {card['dev_score']:.1f} after {card['dev_step']} steps"
    )
    assert card["dev_score"] > card["before_training"] + gain
    assert set(card["labels"]) == {label for spans in rows.spans for *_, label in spans}

    invoke("models", "add", trained)
    checks = invoke("models", "verify", "mine").stdout.splitlines()
    assert [line.split(": ")[1] for line in checks] == ["ok"] * 6
    invoke("models", "use", base, "--adapter", "mine")
    served = found(rows.dev)
    # What the trainer scored is what a user gets: by default, with the labels that were trained.
    assert strict_f1(served, rows.spans) == pytest.approx(card["dev_score"], abs=1.5)

    merged = tmp_path / "merged"
    told = invoke("models", "merge", "mine", "-o", merged)
    assert nats(told) < 1e-6
    assert found(rows.dev, "--model", merged) == served
    told = invoke("models", "export", "gguf", merged, "-o", tmp_path / "mine.gguf", "--type", "f16")
    assert nats(told) < 1e-4
    assert (tmp_path / "mine.gguf").read_bytes()[:4] == b"GGUF"

    invoke("models", "use", base, "--no-adapter")
    names = tmp_path / "labels.yaml"
    names.write_text(json.dumps(dict.fromkeys(card["labels"], "")), encoding="utf-8")
    untrained = found(rows.dev, "--labels-file", names)
    assert strict_f1(untrained, rows.spans) < card["dev_score"] - gain


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def steps(folder: Path) -> int:
    return max(record["step"] for record in metrics(folder))


def nats(result: Result) -> float:
    """Return how far apart a command says that two models are."""
    told = re.search(r"([\d.e+-]+) nats", result.stderr)
    assert told is not None, result.stderr
    return float(told[1])


def found(dev: Path, *options: object) -> list[set[Span]]:
    """Return what `clinical ner` finds in the notes that are held out."""
    notes = dev.with_name("notes.jsonl")
    texts = [json.loads(line)["note"] for line in dev.read_text(encoding="utf-8").splitlines()]
    notes.write_text(
        "".join(json.dumps({"id": str(number), "text": text}) + "\n" for number, text in enumerate(texts)),
        encoding="utf-8",
    )
    lines = invoke("ner", notes, "--format", "jsonl", "--no-assertion", *options).stdout.splitlines()
    entities = [json.loads(line)["entities"] for line in lines]
    for text, of in zip(texts, entities, strict=True):
        assert all(text[e["start"] : e["end"]] == e["text"] and e["grounding"] == "decoded" for e in of)
    return [{(e["start"], e["end"], e["label"]) for e in of} for of in entities]


def strict_f1(got: Sequence[set[Span]], right: Sequence[set[Span]]) -> float:
    both = sum(len(one & other) for one, other in zip(got, right, strict=True))
    return 200 * both / (sum(map(len, got)) + sum(map(len, right)))
