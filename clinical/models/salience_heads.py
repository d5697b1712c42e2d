"""The linear heads of the `light` summarizer: a weight for each feature of a sentence (`clinical.tasks.salience`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SHIPPED = "light-summarize"

WORDS = "words.json"

HEADS = ("dialogue", "soap", "question", "question_words")


@dataclass(frozen=True)
class LinearHead:
    """`score = (features - mean) / deviation · weights + bias`; several columns of weights give several scores."""

    mean: Floats
    deviation: Floats
    weights: Floats
    bias: Floats

    def score(self, features: Floats) -> Floats:
        """Return a score for each row, or one for each row and column of weights."""
        if not len(features):
            return np.zeros((0, *self.bias.shape), np.float32)
        scores: Floats = ((features - self.mean) / self.deviation) @ self.weights + self.bias
        return scores.astype(np.float32)

    def tensors(self, name: str) -> dict[str, Floats]:
        """Return what is stored of the head under this name."""
        parts = {"mean": self.mean, "deviation": self.deviation, "weights": self.weights, "bias": self.bias}
        return {f"{name}.{part}": np.ascontiguousarray(value, np.float32) for part, value in parts.items()}


def folder() -> Path:
    """Return the folder of the heads that ship with the package."""
    return Path(str(resources.files("clinical.models").joinpath("weights", SHIPPED)))


@cache
def head(name: str) -> LinearHead:
    """Return a head that ships with the package, one of `HEADS`."""
    stored = _stored()
    return LinearHead(*(stored[f"{name}.{part}"] for part in ("mean", "deviation", "weights", "bias")))


@cache
def known_words() -> Mapping[str, int]:
    """Return the common words of patients' messages, with how many messages of a thousand have them."""
    found: Mapping[str, int] = json.loads((folder() / WORDS).read_text(encoding="utf-8"))
    return found


@cache
def _stored() -> Mapping[str, Floats]:
    from safetensors.numpy import load

    return load((folder() / "heads.safetensors").read_bytes())
