"""`clinical doctor`: it sees what is wrong, names the command that mends it, and its exit code follows."""

from __future__ import annotations

import json
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clinical.cli import cli
from clinical.commands import checks
from clinical.models import minilm


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine where everything is there, whatever the one under the test has."""
    light = tmp_path / "weights" / "light-ner"
    light.mkdir(parents=True)
    (light / "tagger.json").write_text("{}")
    monkeypatch.setattr("clinical.models.inventory.resources.files", lambda _: tmp_path)
    monkeypatch.setattr(minilm, "weights_are_official", lambda: True)
    monkeypatch.setattr(checks.metadata, "requires", lambda _: ["click>=8.1", 'pytest; extra == "test"'])


def report(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    result = CliRunner().invoke(cli, ["doctor", "--format", "json", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    record = json.loads(result.stdout)
    assert record["ready"] == (result.exit_code == 0)
    return result.exit_code, {check["name"]: check for check in record["checks"]}


@pytest.mark.usefixtures("sound")
def test_all_well() -> None:
    code, found = report()
    assert code == 0
    assert found["click"]["state"] == "ok"
    assert found["light-ner"]["state"] == "ok"
    assert "pytest" not in found, "what only the tests need is not asked for"
    assert [
        check["name"] for check in found.values() if check["state"] == "wrong" and check["is_needed"]
    ] == []


@pytest.mark.usefixtures("sound")
def test_table_names_each_thing_on_a_line() -> None:
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 0
    assert f"  ok       click: {metadata.version('click')} (>=8.1)\n" in result.stdout
    assert result.stdout.endswith("clinical ner can work.\n")


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize(
    ("requirement", "name", "state", "fix"),
    [
        ("no-such-package>=2", "no-such-package", "missing", 'pip install "no-such-package>=2"'),
        ("click<1", "click", "wrong", 'pip install "click<1"'),
    ],
)
def test_packages_out_of_bounds_are_named_with_their_command(
    requirement: str, name: str, state: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.metadata, "requires", lambda _: [requirement])
    code, found = report()
    assert code == 1
    assert (found[name]["state"], found[name]["fix"]) == (state, fix)


@pytest.mark.usefixtures("sound")
def test_missing_light_weights_stop_the_main_job(tmp_path: Path) -> None:
    (tmp_path / "weights" / "light-ner" / "tagger.json").unlink()
    code, found = report()
    assert code == 1
    assert found["the light tagger"]["state"] == "missing"
    assert found["the light tagger"]["fix"] == "pip install --force-reinstall --no-deps clinical"


@pytest.mark.usefixtures("sound")
def test_missing_mistral_and_spacy_weights_do_not() -> None:
    code, found = report()
    assert code == 0
    assert found["the small Mistral"]["state"] == found["the spaCy baseline"]["state"] == "missing"


@pytest.mark.usefixtures("sound")
def test_other_weights_of_minilm_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "weights_are_official", lambda: False)
    code, found = report()
    assert code == 1
    assert found["all-MiniLM-L6-v2"]["state"] == "wrong"


@pytest.mark.usefixtures("sound")
def test_a_chosen_model_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_MODEL", "/no/such/folder")
    code, found = report()
    assert code == 1
    assert found["chosen model"]["fix"] == "unset CLINICAL_MODEL"


@pytest.mark.usefixtures("sound")
def test_spoiled_settings_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "clinical").mkdir()
    (tmp_path / "clinical" / "settings.json").write_text("{")
    code, found = report()
    assert code == 1
    assert "mend or delete it" in found["chosen model"]["detail"]


@pytest.mark.usefixtures("sound")
def test_a_cache_that_others_can_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "clinical"
    folder.mkdir(mode=0o755)
    _, found = report()
    assert (found["cache"]["state"], found["cache"]["fix"]) == ("note", f"chmod 700 {folder}")
    folder.chmod(0o700)
    _, found = report()
    assert (found["cache"]["state"], found["cache"]["fix"]) == ("ok", None)


@pytest.mark.usefixtures("sound")
def test_a_cache_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    code, found = report()
    assert code == 1
    assert found["cache"]["state"] == "wrong"


@pytest.mark.usefixtures("sound")
def test_corpora_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ner" / "bc5cdr").mkdir(parents=True)
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path))
    _, found = report()
    assert found["folder"]["detail"].startswith(f"{tmp_path}, 1 of ")
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path / "missing"))
    code, found = report()
    assert code == 0
    assert found["folder"]["fix"] == "export CLINICAL_CORPORA=/path/to/corpora"


@pytest.mark.usefixtures("sound")
def test_a_gpu_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    answer = subprocess.CompletedProcess([], 0, stdout="NVIDIA H200, 143771 MiB\n")
    monkeypatch.setattr(checks.subprocess, "run", lambda *_, **__: answer)
    monkeypatch.setattr(checks, "_version", lambda _: "2.13.0+cpu")
    code, found = report()
    assert code == 0
    assert found["NVIDIA driver"]["detail"] == "NVIDIA H200, 143771 MiB"
    assert found["torch"]["state"] == "wrong"


@pytest.mark.usefixtures("sound")
def test_offline_state_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in checks.OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert report()[1]["offline"]["detail"].startswith("clinical asks the network for nothing")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert report()[1]["offline"]["detail"] == "HF_HUB_OFFLINE=1"
