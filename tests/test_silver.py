"""Silver labels: what the shipped tagger finds, under several guidelines at once, and where it was not sure."""

from __future__ import annotations

from pathlib import Path

import pytest

from clinical.finetune import silver
from clinical.models.light_tagger import LightTagger
from clinical.prompts.labels import by_name

TEXT = (
    "A 54-year-old woman with diabetes was given metformin 500 mg. The metformin was stopped because of "
    "lactic acidosis.\nMild swelling of the left leg, perhaps thrombosis."
)


@pytest.mark.embedded
def test_the_labels_are_those_of_the_tagger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silver, "texts", lambda corpus: [TEXT])
    teacher = silver.Teacher.load()
    assert isinstance(teacher, silver.Teacher)
    silver.write("pubmedqa", teacher, tmp_path, None)
    (line,) = silver.read_silver(tmp_path, "pubmedqa")
    assert line["text"] == TEXT
    assert list(line["spans"]) == list(silver.SCHEMES)
    for scheme in ("bc5cdr", "clinical"):
        tagger = LightTagger.load(scheme)
        own = [label for label in tagger.label_names() if label not in ("Gene", "Species")]
        (expected,) = tagger.recognize([TEXT], by_name(own))
        assert line["spans"][scheme] == [[e.start, e.end, e.label] for e in expected]
        assert ["Medication", "metformin"] in [[label, TEXT[s:e]] for s, e, label in line["spans"][scheme]]
    for place, label, probability in line["doubts"]["clinical"]:
        assert TEXT[place - 1 : place].strip() == "" or not TEXT[place - 1].isalnum()
        assert label == "" or label in teacher.label_names()
        assert 0 <= probability <= 1
    assert line["doubts"]["clinical"]
    # What is there is not done again.
    monkeypatch.setattr(silver, "texts", lambda corpus: pytest.fail("read again"))
    silver.write("pubmedqa", teacher, tmp_path, None)


def test_long_texts_are_cut_between_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "The patient was seen today and feels well."
    records = [{"answer": " ".join([sentence] * 300)}, {"answer": "Fever."}, {"answer": "Fever. "}]
    monkeypatch.setattr(silver, "read_records", lambda corpus, split: records)
    found = sorted(silver.texts("medquad"), key=len)
    assert found[0] == "Fever."
    assert len(found) == 4
    assert all(len(text) <= silver.LONGEST + len(sentence) for text in found)
    assert " ".join(found[1:]).count(sentence) == 300
