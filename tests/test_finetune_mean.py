"""The mean of two small models."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from finetune_base import write_base
from safetensors.torch import load_file, save_file

from clinical.finetune import mean
from clinical.finetune.network import weights_of
from clinical.models import mistral


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """Two models whose weights differ by two everywhere, each with its history."""
    found = []
    for name, more in (("first", 0.0), ("second", 2.0)):
        folder = write_base(tmp_path / name)
        held = load_file(folder / "model.safetensors")
        save_file(
            {key: weight + more for key, weight in held.items()},
            folder / "model.safetensors",
            {"format": "pt"},
        )
        steps = [{"step": "pretraining"}, {"step": name}]
        (folder / "history.json").write_text(json.dumps(steps), encoding="utf-8")
        found.append(folder)
    return found


def called(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["mean.py", *map(str, arguments)])
    mean.main()


def test_each_weight_is_between_the_two(
    models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "mean"
    called(monkeypatch, "--models", *models, "--share", 0.25, "--out", out)
    first, made = weights_of(models[0]), weights_of(out)
    assert made.keys() == first.keys()
    assert all(torch.allclose(made[name], weight + 0.5, atol=2e-3) for name, weight in first.items())
    steps = json.loads((out / "history.json").read_text(encoding="utf-8"))
    assert [step["step"] for step in steps] == ["pretraining", "first", "second", "mean"]
    assert mistral.load(str(out)).window == 1024


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--models", "FIRST", "nowhere", "--out", "x"], "nowhere is not a model: it has no config.json"),
        (["--models", "FIRST", "FIRST", "--share", "1.5", "--out", "x"], "--share is from 0 to 1, not 1.5"),
    ],
)
def test_a_wrong_call_is_one_line(
    arguments: list[str],
    said: str,
    models: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        called(monkeypatch, *(str(models[0]) if one == "FIRST" else one for one in arguments))
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
