"""Any sentence-transformers model can embed an index: one with prompts, a pair of encoders, from a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from clinical.cli import cli
from clinical.errors import UsageError
from clinical.models.embedder import Embedder
from clinical.models.embedders import DEFAULT, load_embedder
from clinical.models.sentence_encoder import SentenceEncoder, folder_of, hash_of

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "chest",
    "pain",
    "fever",
    "warfarin",
    "stopped",
    "query",
    ":",
    "text",
    "of",
    "a",
    "no",
]
INSTRUCTION = "query : "


def make_model(folder: Path, seed: int = 0, prompts: bool = False, modules: bool = True) -> Path:
    """Write a BERT of two thousand numbers, untrained, as sentence-transformers or as transformers write it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32, initializer_range=1.0,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    if modules:
        encoder = Transformer(str(folder))
        model = SentenceTransformer(
            modules=[encoder, Pooling(8, "mean")],
            prompts={"query": INSTRUCTION, "document": ""} if prompts else None,
            device="cpu",
        )
        plain = folder.rename(folder.with_name(folder.name + "-plain"))
        model.save(str(folder))
        shutil.rmtree(plain)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    make_model(root / "plain")
    make_model(root / "prompted", prompts=True)
    make_model(root / "texts", seed=1, modules=False)
    make_model(root / "queries", seed=2, modules=False)
    return root


def reference(folder: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return np.asarray(
        model.encode(list(texts), prompt="", normalize_embeddings=True, show_progress_bar=False)
    )


TEXTS = ["chest pain", "no fever, no pain of chest", "", "warfarin stopped", "x" * 5000, "fever\ud83d"]


def test_vectors_are_those_of_the_library(models: Path) -> None:
    encoder = SentenceEncoder(str(models / "plain"), batch_size=2)
    vectors = encoder.embed(TEXTS)
    np.testing.assert_allclose(vectors[:5], reference(models / "plain", TEXTS[:5]), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(encoder.embed_queries(TEXTS[:1]), vectors[:1])
    assert encoder.embed([]).shape == (0, 8)


def test_queries_are_read_with_the_instruction_of_the_model(models: Path) -> None:
    encoder = SentenceEncoder(str(models / "prompted"))
    np.testing.assert_allclose(
        encoder.embed_queries(["chest pain"]),
        reference(models / "prompted", [INSTRUCTION + "chest pain"]),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        encoder.embed(["chest pain"]), reference(models / "prompted", ["chest pain"]), atol=1e-5
    )


def test_a_pair_has_an_encoder_for_each(models: Path) -> None:
    import torch
    from transformers import AutoTokenizer, BertModel

    pair = SentenceEncoder(f"{models / 'texts'},{models / 'queries'}")
    for name, found in (
        ("texts", pair.embed(["chest pain"])),
        ("queries", pair.embed_queries(["chest pain"])),
    ):
        tokens = AutoTokenizer.from_pretrained(models / name)(["chest pain"], return_tensors="pt")
        with torch.no_grad():
            hidden = BertModel.from_pretrained(models / name)(**tokens).last_hidden_state[:, 0].numpy()
        np.testing.assert_allclose(found, hidden / np.linalg.norm(hidden), atol=1e-5)
    assert [part.split("/")[0] for part in pair.id.split("+")] == ["texts", "queries"]


def test_the_id_changes_with_weights_and_settings(models: Path, tmp_path: Path) -> None:
    copy = tmp_path / "plain"
    shutil.copytree(models / "plain", copy)
    assert SentenceEncoder(str(copy)).id == SentenceEncoder(str(models / "plain")).id
    (copy / "README.md").write_text("A card decides nothing.")
    assert hash_of(copy) == hash_of(models / "plain")
    settings = json.loads((copy / "config_sentence_transformers.json").read_text())
    settings["prompts"] = {"query": INSTRUCTION, "document": ""}
    (copy / "config_sentence_transformers.json").write_text(json.dumps(settings))
    assert hash_of(copy) != hash_of(models / "plain")


def test_a_name_is_looked_up_where_the_hub_puts_it(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "hub"
    snapshot = hub / "models--clinic--tiny" / "snapshots" / "0123"
    shutil.copytree(models / "plain", snapshot)
    (hub / "models--clinic--tiny" / "refs").mkdir()
    (hub / "models--clinic--tiny" / "refs" / "main").write_text("0123")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    assert folder_of("clinic/tiny") == snapshot
    with pytest.raises(
        UsageError, match=r"embedder clinic/other is not on this machine: .*hf download clinic/other"
    ):
        folder_of("clinic/other")


@pytest.mark.parametrize("name", ["", ",", "a,b,c", "a/b/c/d", "no such model"])
def test_what_is_no_model_is_told(name: str) -> None:
    with pytest.raises(UsageError, match=r"give one model|is not on this machine"):
        load_embedder(name)


def test_folders_that_hold_no_model_are_told(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no sentence-transformers model"):
        load_embedder(str(tmp_path))
    broken = tmp_path / "broken"
    shutil.copytree(models / "plain", broken)
    (broken / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="broken cannot be loaded as an embedder: "):
        load_embedder(str(broken)).embed(["fever"])
    (broken / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="has no weights in the safetensors format"):
        load_embedder(str(broken))


def test_code_that_comes_with_a_model_is_not_run(models: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(models / "plain", foreign)
    marker = tmp_path / "ran"
    (foreign / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Own: pass\n")
    modules = json.loads((foreign / "modules.json").read_text())
    modules[0]["type"] = "own.Own"
    (foreign / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UsageError, match="cannot be loaded as an embedder"):
        load_embedder(str(foreign)).embed(["fever"])
    assert not marker.exists()


def test_the_default_needs_no_name() -> None:
    assert load_embedder().id == load_embedder(DEFAULT).id == Embedder.id


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.embedded
def test_the_commands_take_it_and_refuse_a_mix(models: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "one.txt").write_text("Plan: warfarin stopped.")
    (notes / "two.txt").write_text("No fever.")
    model = str(models / "plain")
    assert run("index", "add", "--embedder", model, str(notes)).exit_code == 0
    found = run("search", "warfarin stopped", str(notes), "--embedder", model, "-k", "1", "--format", "jsonl")
    assert json.loads(found.stdout)["text"] == "Plan: warfarin stopped."
    for command in (["search", "warfarin", str(notes)], ["index", "add", str(notes)]):
        mixed = run(*command)
        assert (mixed.exit_code, mixed.stdout) == (1, "")
        assert len(mixed.stderr.splitlines()) == 1
        assert f"was embedded with {SentenceEncoder(model).id}, not with {Embedder.id}" in mixed.stderr
        assert f"clinical index add --rebuild {notes}" in mixed.stderr
    assert run("index", "add", "--rebuild", str(notes)).exit_code == 0
    assert run("search", "warfarin", str(notes), "-k", "1").exit_code == 0
