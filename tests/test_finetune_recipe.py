"""Recipes: what is packaged is sound, and every fault of a file is named with its line."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from clinical.errors import UsageError
from clinical.finetune import recipe as recipes
from clinical.finetune.recipe import Lora, Source, available, load, parse

SMALL = "base: x\ndata: [{task: ner, corpus: 'bc5cdr:train'}]\n"


def faults(text: str, *changes: str) -> str:
    with pytest.raises(UsageError) as raised:
        parse(text, "mine.yaml", changes)
    return str(raised.value)


@pytest.mark.parametrize("name", list(available()))
def test_every_packaged_recipe_is_sound_and_says_what_it_is(name: str) -> None:
    found = load(name)
    assert found.name == name
    text = resources.files("clinical.finetune").joinpath("recipes", f"{name}.yaml").read_text("utf-8")
    assert "Needs: " in text
    assert f"clinical finetune {name} " in text
    # What trades speed for memory is said where it is set.
    for key in ("method: ", "  checkpointing: ", "  group_by_length: "):
        lines = [line for line in text.splitlines() if line.startswith(key) and line != "method: lora"]
        assert all("#" in line for line in lines)


def test_the_seeds_recipes_have_their_settings() -> None:
    mashqa, medquad, qa = (
        load(name)
        for name in ("mashqa-mistral-7b-qlora", "medquad-mistral-7b-lora", "medical-qa-llama2-7b-qlora")
    )
    assert (mashqa.base, mashqa.method) == ("mistralai/Mistral-7B-Instruct-v0.1", "qlora")
    assert mashqa.lora == Lora(64, 16, 0.05, ("q_proj", "v_proj"))
    assert (medquad.base, medquad.method, medquad.deploy) == (
        "mistralai/Mistral-7B-Instruct-v0.3",
        "lora",
        "merge",
    )
    assert medquad.lora.targets == ("q_proj", "v_proj")
    assert (qa.train.batch, qa.train.accumulation, qa.train.learning_rate) == (2, 4, 2e-4)
    assert (qa.train.schedule, qa.train.epochs, qa.save.every, qa.train.log_every) == (
        "constant",
        1.0,
        75,
        75,
    )
    assistant, suite = load("assistant-mistral-7b-lora"), load("clinical-suite-mistral-7b-qlora")
    assert (assistant.lora.r, assistant.lora.alpha, assistant.lora.dropout) == (64, 16, 0.1)
    assert (assistant.train.max_steps, assistant.train.max_grad_norm, assistant.hold_out) == (100, 0.3, 0.2)
    assert (assistant.train.optimizer, assistant.evaluate.metric) == ("paged_adamw_32bit", "cosine")
    assert suite.train.epochs == 20
    assert suite.tasks == ("chat", "ner", "search", "ask", "summarize")


def test_all_faults_are_named_at_once_with_line_and_nearest_name() -> None:
    text = (
        "base: x\n"
        "trian: {}\n"
        "method: qlorra\n"
        "data:\n"
        "  - {task: ner, corpsu: a}\n"
        "lora:\n"
        "  rank: 8\n"
        "train:\n"
        "  batch: 0\n"
        "  learning_rate: fast\n"
        "method: lora\n"
    )
    assert faults(text) == (
        "mine.yaml has 7 faults:\n"
        "  mine.yaml:11: method stands there twice\n"
        "  mine.yaml:2: no key 'trian'; did you mean train?\n"
        "  mine.yaml:5: no key 'data.0.corpsu'; did you mean data.0.corpus?\n"
        "  mine.yaml:7: no key 'lora.rank'; known: r, alpha, dropout, targets, start\n"
        "  mine.yaml:10: train.learning_rate wants a number, not 'fast'\n"
        "  mine.yaml:9: train.batch must be at least 1, not 0\n"
        "  mine.yaml:5: data.0 names neither a corpus nor a file"
    )


def test_a_choice_that_there_is_not() -> None:
    assert faults(SMALL + "method: qlorra\n") == (
        "mine.yaml:3: method cannot be 'qlorra'; did you mean qlora? choices: lora, qlora, full"
    )


def test_changes_are_values_of_yaml_and_their_faults_name_them() -> None:
    changed = parse(
        SMALL, "mine.yaml", ["lora.r=32", "train.learning_rate=2e-5", "data.0.weight=2", "packing=true"]
    )
    assert (changed.lora.r, changed.train.learning_rate, changed.data[0].weight, changed.packing) == (
        32,
        2e-5,
        2.0,
        True,
    )
    assert faults(SMALL, "lora.rr=3") == "--set lora.rr=3: no key 'lora.rr'; did you mean lora.r?"
    assert faults(SMALL, "trian.batch=2") == "--set trian.batch=2: no key 'trian'; did you mean train?"
    assert faults(SMALL, "lora.r") == "--set 'lora.r': write it as key=value, as in lora.r=32"
    assert faults(SMALL, "data.4.weight=2") == "--set 'data.4.weight=2': the recipe has no data.4.weight"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("hold_out=1.5", "hold_out is a share from 0 to below 1, not 1.5"),
        ("train.loss=decisions", ""),
        ("packing=1", "packing wants true or false, not 1"),
        ("save={every: 7}", ""),
    ],
)
def test_what_cannot_be(change: str, fault: str) -> None:
    if not fault:
        parse(SMALL, "mine.yaml", [change])
    else:
        assert faults(SMALL, change) == f"--set {change}: {fault}"


def test_what_does_not_go_together() -> None:
    assert "must be multiples of each other" in faults(SMALL, "save.every=7", "evaluate.every=3")
    assert "for rows of the task ner alone" in faults(SMALL, "data.0.task=chat", "train.loss=decisions")
    assert "packing does not go with" in faults(SMALL, "packing=true", "train.loss=decisions")
    assert "columns: no column 'frage' of ours" in faults(SMALL, "data.0.columns={frage: Q}")
    own = "data.0={task: ner, file: notes.jsonl, columns: {text: note, entities: spans}}"
    assert parse(SMALL, "mine.yaml", [own]).data[0].columns == {"text": "note", "entities": "spans"}
    assert "data.0.where is not for rows of ner" in faults(SMALL, own, "data.0.where={a: b}")
    assert "data.0.columns is not for a corpus" in faults(SMALL, "data.0.columns={text: note}")


def test_not_a_recipe() -> None:
    assert faults("- a\n") == "mine.yaml is not a recipe: write `key: value` lines"
    assert faults("base: [\n").startswith("mine.yaml is not YAML: ")
    assert faults("data: []\n") == "mine.yaml:1: base is missing"


def test_a_file_or_a_name(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(SMALL, encoding="utf-8")
    assert load(str(path)).data == (Source("ner", "bc5cdr:train"),)
    assert load(str(path)).name == "own"
    with pytest.raises(UsageError, match="no recipe 'mini-nr'; did you mean mini-ner"):
        load("mini-nr")


def test_a_recipe_comes_back_from_what_is_stored(tmp_path: Path) -> None:
    import yaml

    for name in available():
        found = load(name)
        stored = yaml.safe_dump(found.as_dict(), sort_keys=False)
        assert recipes.parse(stored, f"{name}.yaml") == found
