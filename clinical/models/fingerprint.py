"""The fingerprint of a base model: what an adapter was trained on, so that it is never put on another.

peft only warns when the shapes differ, and says nothing when only the weights do.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from clinical.errors import UsageError

# What decides the function that the weights compute; names, dtypes and versions do not.
_CONFIG_KEYS = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)
_TENSORS = 16


def fingerprint(folder: Path) -> str:
    """Return 16 hexadecimal digits made of the config and of the first rows of up to 16 tensors of the model.

    The rows are read from the safetensors files, so it takes milliseconds for a model of any size, and does
    not change when the model is quantized while loading.
    """
    from safetensors import safe_open

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(json.dumps([config.get(key) for key in _CONFIG_KEYS]).encode())
    where: dict[str, Path] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "pt") as tensors:
            where.update(dict.fromkeys(tensors.keys(), path))
    names = sorted(where)
    for name in names[:: max(1, -(-len(names) // _TENSORS))]:
        with safe_open(where[name], "pt") as tensors:
            row = tensors.get_slice(name)[:1]
            digest.update(name.encode())
            digest.update(row.float().numpy().tobytes())
    return digest.hexdigest()[:16]


def check_base(adapter: Path, base: Path) -> None:
    """Raise `UsageError` when the adapter was trained on another model than this one.

    An adapter of ours says in its `clinical.json` what it was trained on; of another's nothing is known.
    """
    card = adapter / "clinical.json"
    if not card.is_file():
        return
    wanted = json.loads(card.read_text(encoding="utf-8")).get("base_fingerprint")
    found = fingerprint(base)
    if wanted and wanted != found:
        raise UsageError(
            f"adapter {adapter} was trained on another base (fingerprint {wanted}; {base} has {found}); "
            "give the model that its card names"
        )


def tokenizer_sha256(folder: Path) -> str:
    """Return 16 hexadecimal digits of a model's tokenizer file: the vocabulary, not its settings. Empty without one."""
    for name in ("tokenizer.json", "tokenizer.model", "tekken.json"):
        if (folder / name).is_file():
            return file_sha256(folder / name)[:16]
    return ""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
