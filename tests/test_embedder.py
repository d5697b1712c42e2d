"""The embedder: near what sentence-transformers gives, whatever the batch, and quick to start."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clinical.models import minilm
from clinical.models.embedder import Embedder

pytestmark = pytest.mark.embedded

TEXTS = [
    "Chest pain on exertion, relieved by rest.",
    "Warfarin was stopped because of a gastrointestinal bleed.",
    "No evidence of pneumonia on the chest X-ray; blood cultures grew nothing after five days of incubation.",
    "Metformin 500 mg twice daily",
    "Her mother had breast cancer at 45. She herself has had no operations and takes no regular medication.",
    "Größe 1,80 m; Temperatur 38,5 °C",
]


@pytest.fixture(scope="module")
def embedder(shared_cache: Path) -> Iterator[Embedder]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        embedder = Embedder()
        embedder.embed(["Fever."])
        yield embedder


def test_agrees_with_sentence_transformers(embedder: Embedder) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(minilm.folder()), device="cpu").encode(
        TEXTS, normalize_embeddings=True, show_progress_bar=False
    )
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.size)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert ((vectors * reference).sum(axis=1) > 0.98).all()


def test_each_vector_belongs_to_its_text_in_any_batch(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS * 6)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert ((together * np.tile(alone, (6, 1))).sum(axis=1) > 0.98).all()


def test_meaning_counts(embedder: Embedder) -> None:
    question, near, far = embedder.embed(["heart attack", "myocardial infarction", "fracture of the wrist"])
    assert question @ near > question @ far + 0.2


def test_no_texts_no_words_and_too_many(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.size)
    np.testing.assert_allclose(np.linalg.norm(embedder.embed(["", "?"]), axis=1), 1, atol=1e-5)
    long = "fever " * 50_000
    assert embedder.embed([long])[0] @ embedder.embed(["fever " * 126])[0] > 0.999


def test_a_prepared_embedder_starts_without_torch(embedder: Embedder) -> None:
    code = (
        "import sys; from clinical.models.embedder import Embedder; Embedder().embed(['Fever.']);"
        "print(sorted({'torch', 'transformers', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
