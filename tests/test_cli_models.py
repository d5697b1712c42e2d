"""`clinical models` and `clinical corpora`, and the settings behind them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clinical.cli import cli
from clinical.corpora.catalog import CORPORA
from clinical.errors import ClinicalError
from clinical.models import inventory
from clinical.models.settings import choose_model, chosen_model, settings_file
from clinical.prompts.labels import clinical_labels


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.fixture
def mistral(tmp_path: Path) -> Path:
    """A folder that looks like a model; nothing here loads it."""
    folder = tmp_path / "my-mistral"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "mistral"}')
    (folder / "model.safetensors").write_bytes(b"0" * 2_000_000)
    return folder


def test_nothing_is_chosen_at_first() -> None:
    assert chosen_model() is None


def test_a_choice_is_kept_and_taken_back() -> None:
    choose_model("clinical-mini")
    assert chosen_model() == "clinical-mini"
    assert json.loads(settings_file().read_text()) == {"model": "clinical-mini"}
    choose_model(None)
    assert chosen_model() is None


def test_the_environment_goes_before_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    choose_model("one")
    monkeypatch.setenv("CLINICAL_MODEL", "two")
    assert chosen_model() == "two"


@pytest.mark.parametrize("spoiled", ["{", "[]", "\ufeff"])
def test_spoiled_settings_are_one_line(spoiled: str) -> None:
    settings_file().parent.mkdir(parents=True)
    settings_file().write_text(spoiled)
    with pytest.raises(ClinicalError, match="mend or delete it"):
        chosen_model()


def test_settings_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(ClinicalError, match="set CLINICAL_MODEL instead"):
        choose_model("one")


def test_use_takes_a_folder_and_makes_it_absolute(mistral: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mistral.parent)
    result = invoke("models", "use", "./my-mistral")
    assert result.exit_code == 0, result.output
    assert chosen_model() == str(mistral)
    assert str(mistral) in result.stderr
    assert f"*\t{mistral}\tmistral\tchosen\t\n" in invoke("models", "list").stdout
    assert invoke("models", "use", "--none").exit_code == 0
    assert chosen_model() is None


@pytest.mark.parametrize("arguments", [[], ["a-model", "--none"], ["no-such-model"]])
def test_use_refuses_what_it_cannot_do(arguments: list[str]) -> None:
    result = invoke("models", "use", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert chosen_model() is None


def test_downloaded_models_are_listed(mistral: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--mistralai--Mistral-7B" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    mistral.rename(snapshot)
    other = tmp_path / "hub" / "models--bert" / "snapshots" / "abc"
    other.mkdir(parents=True)
    (other / "config.json").write_text('{"model_type": "bert"}')
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert inventory.downloaded_models() == [
        inventory.Found("mistralai/Mistral-7B", "mistral", "downloaded", snapshot)
    ]
    assert "\tmistralai/Mistral-7B\tmistral\tdownloaded\t2.0 MB\n" in invoke("models", "list").stdout
    assert invoke("models", "path", "mistralai/Mistral-7B").stdout == f"{snapshot}\n"


def test_an_unknown_model_names_the_nearest(mistral: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [inventory.Found("my-mistral", "mistral", "shipped", mistral)]
    monkeypatch.setattr(inventory, "found_models", lambda: found)
    result = invoke("models", "path", "my-mistrel")
    assert result.exit_code == 2
    assert (
        result.stderr
        == "Error: no model 'my-mistrel'; did you mean my-mistral? on this machine: my-mistral\n"
    )
    assert invoke("models", "show", "my-mistral").stdout.splitlines() == [
        "my-mistral: system mistral, shipped",
        f"folder: {mistral}",
    ]


def test_labels_are_listed_with_their_definitions() -> None:
    lines = invoke("models", "labels").stdout.splitlines()
    assert len(lines) == len(clinical_labels())
    first = clinical_labels()[0]
    assert lines[0] == f"*\t{first.name}\t{first.definition}\t{'; '.join(first.examples)}"


def test_corpora_say_whether_they_are_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    corpus = CORPORA[0]
    (tmp_path / corpus.folder).mkdir(parents=True)
    for file in corpus.files:
        (tmp_path / corpus.folder / file).touch()
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path))
    result = invoke("corpora", "list")
    assert result.exit_code == 0
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == [corpus.name for corpus in CORPORA]
    elsewhere = ["missing" if other.files else "yours to bring" for other in CORPORA[1:]]
    assert [row[2] for row in rows] == ["found", *elsewhere]
    assert result.stderr == f"folder: {tmp_path}\n"


def test_corpora_as_json_and_without_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_CORPORA", "/no/such/folder")
    result = invoke("corpora", "list", "--format", "json")
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert [row["name"] for row in rows] == [corpus.name for corpus in CORPORA]
    assert not any(row["found"] for row in rows)
