"""The whole way: rows of a corpus, a mini recipe, the registry, the merged model, GGUF, and entities of a note."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from finetune_base import recipe, write_base

from clinical.cli import cli
from clinical.corpora.training import read_rows
from clinical.finetune.training import train
from clinical.models import adapters
from clinical.models.mistral_tagger import MistralTagger
from clinical.prompts.labels import by_name

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

DRUGS = ("aspirin", "metformin", "warfarin", "amoxicillin")
DISEASES = ("fever", "pneumonia", "asthma", "gout")


def write_corpus(root: Path) -> None:
    """Write a small BC5CDR of ours in the stored shape."""
    folder = root / "ner" / "bc5cdr"
    folder.mkdir(parents=True)
    for split, count in (("train", 24), ("dev", 4)):
        records = []
        for number in range(count):
            drug, disease = DRUGS[number % 4], DISEASES[number // 4 % 4]
            text = f"Given {drug} for {disease} ."
            ends = 6 + len(drug), 11 + len(drug) + len(disease)
            entities = [
                {"start": 6, "end": ends[0], "label": "Chemical", "text": drug},
                {"start": ends[0] + 5, "end": ends[1], "label": "Disease", "text": disease},
            ]
            records.append({"id": f"{split}-{number}", "text": text, "entities": entities})
        lines = "".join(f"{json.dumps(record)}\n" for record in records)
        (folder / f"{split}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


def test_from_rows_to_a_served_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus(tmp_path / "corpora")
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path / "corpora"))
    assert len(read_rows("bc5cdr:train").rows) == 24
    base = write_base(tmp_path / "base")
    dev = "dev=[{task: ner, corpus: 'bc5cdr:dev'}]"
    small = recipe(base, dev, "train.max_steps=6", data="[{task: ner, corpus: 'bc5cdr:train'}]")
    trained = train(small, tmp_path / "run")

    invoke("models", "add", trained, "--base", base, "--name", "mini")
    adapter = adapters.find("mini")
    card = json.loads((trained / "clinical.json").read_text())
    assert (adapter.tasks, adapter.chat, adapter.dev_score) == (("ner",), "v3", card["dev_score"])
    assert [line.split(": ")[1] for line in invoke("models", "verify", "mini").stdout.splitlines()] == [
        "ok"
    ] * 6

    note = tmp_path / "note.txt"
    note.write_text("Given aspirin for gout. Also metformin.")
    invoke("models", "use", base, "--adapter", "mini")
    by_default = found(invoke("ner", note, "--format", "jsonl", "--no-assertion"))

    merged = tmp_path / "merged"
    invoke("models", "merge", "mini", "-o", merged)
    invoke("models", "export", "gguf", merged, "-o", tmp_path / "mini.gguf", "--type", "q8_0")
    assert (tmp_path / "mini.gguf").stat().st_size > 100_000
    alone = invoke("ner", note, "--model", merged, "--format", "jsonl", "--no-assertion")
    assert json.loads(alone.stdout)["model"] == str(merged)
    named = invoke("ner", note, "--model", base, "--adapter", "mini", "--format", "jsonl", "--no-assertion")
    assert found(alone) == found(named) == by_default
    invoke("models", "use", base, "--task", "ner", "--no-adapter")
    # What was learned in six steps is little; but it is there, and it is what decides.
    labels = by_name(["Medication", "Disease"])
    texts = [note.read_text()]
    assert MistralTagger.load(str(merged)).tag(texts, labels) != MistralTagger.load(str(base)).tag(
        texts, labels
    )


def found(result: Result) -> list[tuple[int, int, str]]:
    entities = json.loads(result.stdout)["entities"]
    return [(entity["start"], entity["end"], entity["label"]) for entity in entities]
