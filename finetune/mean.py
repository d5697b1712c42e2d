"""Writes the mean of two small models that went different ways from the same weights (Wortsman et al. 2022).

    python -m clinical.finetune.mean --models build/first build/second --share 0.4 --out build/mean

The share is that of the second. The folder that comes out can be released, or be trained on.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from clinical.finetune.network import weights_of
from clinical.finetune.provenance import history, provenance, write_history

if TYPE_CHECKING:
    import torch


def mean(
    first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], share: float
) -> dict[str, torch.Tensor]:
    """Return each weight of the first model moved by this share of the way to that of the second."""
    return {name: weight.lerp(second[name], share) for name, weight in first.items()}


def main() -> None:
    """Read the command line and write the mean."""
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs=2, type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--share", type=float, default=0.5, help="of the second model, from 0 to 1")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    for folder in given.models:
        if not (folder / "config.json").is_file():
            parser.error(f"{folder} is not a model: it has no config.json")
    if not 0 <= given.share <= 1:
        parser.error(f"--share is from 0 to 1, not {given.share}")
    first, second = given.models
    shutil.copytree(first, given.out, ignore=shutil.ignore_patterns("*.safetensors*"))
    held = {
        name: weight.half()
        for name, weight in mean(weights_of(first), weights_of(second), given.share).items()
    }
    save_file(held, given.out / "model.safetensors", metadata={"format": "pt"})
    (given.out / "model.safetensors").chmod(0o644)
    step = {"step": "mean", **provenance(), "recipe": {"share": given.share, "seed": 0}, "corpora": []}
    write_history([*history(first, second), step], given.out)


if __name__ == "__main__":
    main()
