"""Turns text into vectors whose cosine says how near two meanings are: MiniLM, int8 on onnxruntime.

    vectors = Embedder().embed(["chest pain on exertion", "angina when climbing stairs"])
    vectors[0] @ vectors[1]

The model is all-MiniLM-L6-v2 as its authors use it: the mean over the pieces, of length one.

    Reimers, Gurevych. Sentence-BERT: sentence embeddings using Siamese BERT-networks. EMNLP 2019.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clinical.models import minilm
from clinical.models.prepared import export, int8_file, quiet

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BATCH_SIZE = 32

MAX_PIECES = 128
"""Three sentences of a note are seldom longer. Twice as many cost twice the time and change little."""

# Counted up when the graph below changes for the same weights.
_FORMAT = 1


class Embedder:
    """Embeds texts; loaded at the first use. `id` names the function: vectors of different ids do not compare."""

    id = f"all-MiniLM-L6-v2/int8/{MAX_PIECES}/{_FORMAT}/{minilm.WEIGHTS_SHA256[:16]}"
    size = minilm.HIDDEN_SIZE

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length one per text, shape (texts, 384); what lies beyond 128 pieces is not read."""
        pieces = self._pieces(texts)
        vectors = np.zeros((len(texts), self.size), np.float32)
        # Texts of one length together: nothing is spent on padding.
        order = sorted(range(len(texts)), key=lambda index: len(pieces[index]))
        for first in range(0, len(order), BATCH_SIZE):
            batch = order[first : first + BATCH_SIZE]
            vectors[batch] = self._run([pieces[index] for index in batch])
        return vectors

    def embed_queries(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length one per query: this model reads them as it reads texts."""
        return self.embed(queries)

    def _pieces(self, texts: Sequence[str]) -> list[list[int]]:
        # Pieces are at least a character long and words seldom twenty: no need to cut a whole book into pieces.
        encoded = minilm.tokenizer().encode_batch([text[: 20 * MAX_PIECES] for text in texts])
        pieces = [found.ids for found in encoded]
        return [ids if len(ids) <= MAX_PIECES else [*ids[: MAX_PIECES - 1], ids[-1]] for ids in pieces]

    def _run(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        ids = np.zeros((len(batch), max(map(len, batch))), np.int64)
        mask = np.zeros_like(ids)
        for row, pieces in enumerate(batch):
            ids[row, : len(pieces)] = pieces
            mask[row, : len(pieces)] = 1
        vectors: NDArray[np.float32] = self._session.run(["vectors"], {"ids": ids, "mask": mask})[0]
        return vectors

    @cached_property
    def _session(self) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)  # 0: all cores
        options.inter_op_num_threads = 1
        name = f"embedder-{_FORMAT}-{minilm.WEIGHTS_SHA256[:16]}"
        file = int8_file("light", name, "the search model", _export)
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _export(target: Path) -> None:
    import torch
    from transformers import BertModel

    with quiet():
        encoder = BertModel.from_pretrained(minilm.folder(), add_pooling_layer=False, dtype=torch.float32)
    encoder.set_attn_implementation("eager")

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * weights).sum(1) / weights.sum(1)
            return torch.nn.functional.normalize(mean, dim=-1)

    ids = torch.ones((2, 16), dtype=torch.int64)
    axes = {0: "texts", 1: "pieces"}
    export(
        Pooled(),
        {"ids": ids, "mask": torch.ones_like(ids)},
        "vectors",
        {"ids": axes, "mask": axes, "vectors": {0: "texts"}},
        target,
    )
