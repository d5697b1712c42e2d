"""Any sentence-transformers model as the embedder of an index: a folder, or a name that has been downloaded.

    encoder = SentenceEncoder("BAAI/bge-small-en-v1.5")
    encoder.embed_queries(["chest pain on exertion"]) @ encoder.embed(["Angina when climbing stairs."]).T

Some models read a question otherwise than a text: by an instruction before it (`prompts` in the model's
`config_sentence_transformers.json`), by a router, or by a second encoder. MedCPT has two; they are written with a
comma between, that of the texts first:

    SentenceEncoder("ncbi/MedCPT-Article-Encoder,ncbi/MedCPT-Query-Encoder")

Runs on the GPU when there is one. Only local files in the safetensors format are read, and no code that comes with a
model is run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clinical.errors import UsageError
from clinical.models.prepared import quiet

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH_SIZE = 32

TEXTS, QUERIES = "document", "query"


class SentenceEncoder:
    """Embeds with a sentence-transformers model, loaded at the first use; vectors have length one.

    `id` names the function: the folder's name, and a hash of the files that make up the model.
    Raises `UsageError` when the model is not on this machine or not of the kind.
    """

    def __init__(self, name: str, batch_size: int = BATCH_SIZE) -> None:
        names = [part.strip() for part in name.split(",")]
        if not 1 <= len(names) <= 2 or not all(names):
            raise UsageError(
                f"--embedder {name}: give one model, or that of the texts and that of the queries"
            )
        self._folders = [folder_of(part) for part in names]
        self._batch_size = batch_size
        self.id = "+".join(
            f"{Path(part).name}/{hash_of(folder)[:16]}"
            for part, folder in zip(names, self._folders, strict=True)
        )

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length one per text."""
        return self._encoded(self._models[0], texts, TEXTS)

    def embed_queries(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length one per query, read as the model wants queries to be read."""
        return self._encoded(self._models[-1], queries, QUERIES)

    def _encoded(self, model: SentenceTransformer, texts: Sequence[str], kind: str) -> NDArray[np.float32]:
        if not texts:
            return np.zeros((0, model.get_embedding_dimension() or 0), np.float32)
        encode = model.encode_query if kind == QUERIES else model.encode_document
        # Half a surrogate pair, as a broken file has it, is no text for a tokenizer.
        vectors = encode(
            [text.encode("utf-8", "replace").decode() for text in texts],
            batch_size=self._batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return np.asarray(vectors, np.float32)

    @cached_property
    def _models(self) -> list[SentenceTransformer]:
        return [_loaded(folder, len(self._folders) == 2) for folder in self._folders]


def folder_of(name: str) -> Path:
    """Return the folder of a model: the name itself, or where the hub's client has put it."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(name, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError) as error:
            raise UsageError(
                f"embedder {name} is not on this machine: give the folder of a sentence-transformers model, or "
                f"the name of one that has been downloaded (`hf download {name}`)"
            ) from error
    if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        raise UsageError(
            f"{folder} is no sentence-transformers model: it has neither modules.json nor config.json"
        )
    if not any(folder.rglob("*.safetensors")):
        raise UsageError(f"{folder} has no weights in the safetensors format; no other is read")
    return folder


def hash_of(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of the files that decide what a model computes."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".safetensors", ".txt", ".model") and path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _loaded(folder: Path, is_pair: bool) -> SentenceTransformer:
    import torch

    with quiet():
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        if os.environ.get("OMP_NUM_THREADS"):
            torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        options = {"use_safetensors": True, "local_files_only": True}
        try:
            if is_pair and not (folder / "modules.json").is_file():
                # Two plain encoders trained as a pair (DPR, MedCPT) take the vector of the first piece.
                encoder = Transformer(str(folder), model_kwargs=options)
                pooling = Pooling(encoder.get_embedding_dimension(), pooling_mode="cls")
                return SentenceTransformer(modules=[encoder, pooling])
            return SentenceTransformer(str(folder), local_files_only=True, model_kwargs=options)
        except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
            raise UsageError(f"{folder} cannot be loaded as an embedder: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
