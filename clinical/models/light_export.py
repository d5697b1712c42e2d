"""Makes the light tagger's encoder ready for this machine, once: adapter merged, weights in int8, kept in the cache.

torch needs seconds to start and runs MiniLM at half the speed; onnxruntime starts in tenths of a second. The file is
named by what it was made of, so a new adapter, encoder or recipe of preparation makes a new file and never reads an
old one. Quantization: onnxruntime's dynamic int8, one scale per output channel, activations scaled as they come.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clinical.models import cache, minilm

if TYPE_CHECKING:
    from transformers import BertModel

_log = logging.getLogger(__name__)

# Counted up when the graph below changes for the same weights.
_FORMAT = 1


def ready_encoder(adapter: Path) -> Path:
    """Return the int8 encoder with this adapter merged in, as an ONNX file; made first if it is not there yet.

    Inputs `ids` and `shapes`: int64 (1, pieces), with the special tokens at both ends. Output `hidden`: float32
    (1, pieces, 384).
    """
    made_of = hashlib.sha256(f"{_FORMAT} {minilm.WEIGHTS_SHA256}".encode())
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        made_of.update((adapter / name).read_bytes())
    target = cache.folder("light") / f"encoder-{made_of.hexdigest()[:16]}.onnx"
    if not target.is_file():
        _log.info("preparing the light model for this machine (once, some ten seconds)")
        _make(adapter, target)
    return target


def _make(adapter: Path, target: Path) -> None:
    """Write the file under another name first: another process may be doing the same, or this one be killed."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch, _quiet():
        exact = Path(scratch) / "exact.onnx"
        quantized = Path(scratch) / "int8.onnx"
        _export(merged_encoder(adapter), exact)
        _quantize(exact, quantized)
        os.replace(quantized, target)


def merged_encoder(adapter: Path) -> BertModel:
    """Return the encoder in torch, float32, with the adapter merged into its weights: the reference for the rest."""
    import torch
    from peft import PeftModel
    from transformers import BertModel

    with _quiet():
        base = BertModel.from_pretrained(minilm.folder(), add_pooling_layer=False, dtype=torch.float32)
        widen_shapes(base)
        merged: BertModel = PeftModel.from_pretrained(base, adapter).float().merge_and_unload()
    merged.eval()
    return merged


def widen_shapes(base: BertModel) -> None:
    """Give the encoder one token-type row per way of writing a word; each starts as the row it was trained with."""
    import torch

    from clinical.models.word_pieces import SHAPES

    old = base.embeddings.token_type_embeddings
    new = torch.nn.Embedding(len(SHAPES), old.embedding_dim)
    with torch.no_grad():
        new.weight.copy_(old.weight[0].expand_as(new.weight))
    base.embeddings.token_type_embeddings = new
    base.config.type_vocab_size = len(SHAPES)


def _export(encoder: BertModel, target: Path) -> None:
    import torch

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, ids: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
            hidden: torch.Tensor = self.encoder(input_ids=ids, token_type_ids=shapes).last_hidden_state
            return hidden

    ids = torch.ones((1, 16), dtype=torch.int64)
    encoder.set_attn_implementation("eager")
    torch.onnx.export(
        Hidden().eval(),
        (ids, torch.zeros_like(ids)),
        str(target),
        input_names=["ids", "shapes"],
        output_names=["hidden"],
        dynamic_axes={name: {1: "pieces"} for name in ("ids", "shapes", "hidden")},
        opset_version=17,
        dynamo=False,
    )


def _quantize(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"MatMulConstBOnly": True},
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' remarks and bars off the user's terminal; their errors still come."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
