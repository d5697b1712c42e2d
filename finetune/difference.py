"""Writes what a model has learned beyond another as an adapter of low rank on the other.

    python -m clinical.finetune.difference --base clinical-mini --tuned build/suite --rank 64 --out build/difference

The difference of each matrix of the layers is cut to its largest singular values (Eckart and Young 1936). What the
tuned model has in its embeddings and norms is left behind, so the adapter wants training: it is a start for
`clinical.finetune.small_training --adapter`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from clinical.finetune.network import weights_of
from clinical.finetune.provenance import history, provenance
from clinical.finetune.small_adapter import write_adapter
from clinical.models.mistral import find_model

if TYPE_CHECKING:
    import torch


def difference(
    base: dict[str, torch.Tensor], tuned: dict[str, torch.Tensor], rank: int
) -> dict[str, torch.Tensor]:
    """Return the matrices `….lora_A` and `….lora_B` for each matrix of the layers, equally large."""
    import torch

    found: dict[str, torch.Tensor] = {}
    for name in (name for name in base if name.endswith("_proj.weight")):
        left, sizes, right = torch.linalg.svd(tuned[name] - base[name], full_matrices=False)
        root = sizes[:rank].sqrt()
        matrix = name.removesuffix(".weight")
        found[f"{matrix}.lora_A"] = (root[:, None] * right[:rank]).contiguous()
        found[f"{matrix}.lora_B"] = (left[:, :rank] * root).contiguous()
    return found


def main() -> None:
    """Read the command line and write the adapter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", required=True, help="the model that the adapter is for")
    parser.add_argument("--tuned", type=Path, required=True, help="folder of the model that has learned more")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    base = find_model(given.base)
    made = difference(weights_of(base), weights_of(given.tuned), given.rank)
    step = {"step": "difference", **provenance(), "recipe": {"rank": given.rank, "seed": 0}, "corpora": []}
    write_adapter(made, base, given.out, [*history(given.tuned), step])


if __name__ == "__main__":
    main()
