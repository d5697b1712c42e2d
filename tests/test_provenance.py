"""What is recorded of a call says nothing of where things lay on the machine."""

from __future__ import annotations

import sys

import pytest

from clinical.finetune.provenance import provenance


def test_folders_of_this_machine_are_told_by_their_last_names(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [
        "--base",
        "/home/me/models/base",
        "--set",
        "lora.start=/home/me/run/adapter",
        "lora.r=8",
        "--out",
        "out/x",
    ]
    monkeypatch.setattr(sys, "argv", ["finetune.py", *said])
    command = provenance()["command"]
    assert command.endswith("--base build/base --set lora.start=build/run/adapter lora.r=8 --out out/x")
    assert "/home" not in command
