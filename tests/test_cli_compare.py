"""`clinical compare ner`: systems side by side, scored where there is a gold standard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes import FakeRecognizer

from clinical.cli import cli
from clinical.documents.annotations import Entity
from clinical.errors import UsageError
from clinical.prompts.labels import Label

TEXT = "Anna has Asthma and takes Salbutamol."


class Hasty(FakeRecognizer):
    """Like the other fake, but it misses every word that begins with A."""

    system = "scispacy"

    def recognize(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        every = super().recognize(texts, labels)
        return [[entity for entity in entities if entity.text[0] != "A"] for entities in every]


class Narrow(FakeRecognizer):
    """Knows one label."""

    system = "mistral"

    def recognize(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        unknown = [label.name for label in labels if label.name != "Medication"]
        if unknown:
            raise UsageError(f"mistral does not know {', '.join(unknown)}")
        return super().recognize(texts, labels)


@pytest.fixture(autouse=True)
def fake_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    systems = {"light": FakeRecognizer, "scispacy": Hasty, "mistral": Narrow}

    def load(system: str | None, model: str | None = None, **_: Any) -> FakeRecognizer:
        return systems[system or "light"]()

    monkeypatch.setattr("clinical.tasks.ner.load_recognizer", load)


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    entity = Entity(26, 36, "Salbutamol", "Medication")
    disease = Entity(9, 15, "Asthma", "Disease")
    records = [
        {"id": str(number), "text": TEXT, "entities": [replace(disease).as_dict(), entity.as_dict()]}
        for number in range(3)
    ]
    path = tmp_path / "gold.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.txt"
    path.write_text(TEXT)
    return path


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["compare", "ner", *map(str, arguments)])


def test_findings_of_two_systems(note: Path) -> None:
    result = compare(note, "--labels", "Medication")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert [(finding["relation"], finding["start"]) for finding in record["findings"]] == [
        ("only fake", 0),
        ("only fake", 9),
        ("agreement", 26),
    ]


def test_scores_against_gold(gold: Path) -> None:
    result = compare(
        "--gold", gold, "--labels", "Medication", "--format", "json", "--systems", "light,scispacy"
    )
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["totals"]["documents"] == 3
    rows = {(row["system"], row["label"]): row for row in record["scores"]}
    assert set(rows) == {
        (system, label) for system in ("light", "scispacy") for label in ("all", "Medication")
    }
    light, hasty = rows["light", "all"], rows["scispacy", "all"]
    assert (light["gold"], light["found"], light["strict R"]) == (3, 9, 1.0)
    assert light["strict P"] == pytest.approx(1 / 3)
    assert (hasty["strict P"], hasty["strict R"], hasty["strict F1"], hasty["partial F1"]) == (
        1.0,
        1.0,
        1.0,
        1.0,
    )
    assert record["remarks"] == [
        "Documents scored: 3. Labels: Medication.",
        "Strict F1 of light minus scispacy: -50.0 (95% -50.0 to -50.0), p = 0.001 (paired bootstrap).",
    ]


def test_only_notes_with_the_very_text_of_the_gold_are_scored(gold: Path, note: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(TEXT + " Now.")
    remarks = json.loads(compare(note, other, "--gold", gold, "--format", "json").stdout)["remarks"]
    assert remarks[0] == "Documents scored: 1, without gold: 1. Labels: Disease, Medication."
    remarks = json.loads(compare(other, "--gold", gold, "--format", "json").stdout)["remarks"]
    assert remarks == ["No document has the text of a gold document; nothing was scored."]


def test_labels_that_one_system_does_not_know_are_said(gold: Path) -> None:
    result = compare(
        "--gold", gold, "--systems", "light,mistral", "--labels", "Disease,Medication", "--format", "json"
    )
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["remarks"][0] == "Not compared, since mistral does not know it: Disease."
    assert set(record["totals"]["by_label"]) == {"Medication"}


def test_a_file_is_made_by_its_ending_and_only_when_complete(gold: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert compare("--gold", gold, "-o", page).exit_code == 0
    assert page.read_text().lstrip().lower().startswith("<!doctype html")
    assert compare("--gold", gold, "-o", tmp_path / "record.json").exit_code == 0
    assert json.loads((tmp_path / "record.json").read_text())["totals"]["documents"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gold.jsonl", "page.html", "record.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--systems", "light"], "two or more"),
        (["--systems", "light,:"], "is not system[@scheme][:model]"),
        (["--systems", "mistral,light", "--labels", "Disease"], "no label that all systems know"),
        (["--labels", "Diseese"], "did you mean Disease?"),
        (["--format", "cvs"], "available: table, jsonl, json, html"),
        (["-o", "."], "is a folder; give a file"),
        (["-o", "missing/page.html"], "cannot write missing/page.html"),
        (["--gold", "missing.jsonl"], "missing.jsonl"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], words: str, gold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(gold.parent)
    result = compare("--gold", gold, *arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("Error: ")
