"""Local language models: where they are found, what is refused, adapters, 4 bits."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clinical.errors import UsageError
from clinical.models import mistral
from clinical.models.fingerprint import fingerprint
from clinical.models.language_model import Message, Request, TaggedCopy
from clinical.prompts.templates import Part

LABELS = ("Disease", "Medication")
TEXT = "The patient has diabetes and was given metformin 500 mg twice daily."


def new_model(folder: Path, layers: int = 2, seed: int = 0) -> Path:
    """A model of random weights with a tokenizer of ours, in a folder."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    from clinical.finetune.tokenizer import train_tokenizer

    tokenizer = train_tokenizer([TEXT] * 3, LABELS, 320)
    torch.manual_seed(seed)
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=None,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    MistralForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter on the base whose weights are not zero."""
    import torch

    folder = tmp_path_factory.mktemp("adapter")
    network = lora(mistral.load_network(base))
    torch.manual_seed(3)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    network.save_pretrained(folder)
    (folder / "clinical.json").write_text(
        json.dumps({"base_fingerprint": fingerprint(base)}), encoding="utf-8"
    )
    return folder


def lora(network: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    with mistral.quiet_peft():
        return get_peft_model(network, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))


def ask(text: str) -> Request:
    return Request((Message("user", (Part("Mark: "), Part(text, "text"))),), TaggedCopy(text, LABELS))


def logits(network: Any) -> Any:
    import torch

    with torch.inference_mode():
        return network(torch.tensor([[1, 3, 60, 61, 62, 4]])).logits


# --- where models are found -------------------------------------------------------------------------


def test_a_model_that_is_not_here_is_not_downloaded() -> None:
    with pytest.raises(UsageError) as error:
        mistral.load("somebody/some-model")
    assert str(error.value) == (
        "no model 'somebody/some-model' on this machine: give one of clinical-mini, a folder, or a "
        "hub id that has been downloaded (`hf download somebody/some-model`)"
    )
    with pytest.raises(UsageError, match="no model 'no such name'"):
        mistral.load("no such name")


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a model: it has no config\.json"):
        mistral.load(str(tmp_path))


def test_pickled_weights_are_refused(base: Path, tmp_path: Path) -> None:
    shutil.copy(base / "config.json", tmp_path)
    (tmp_path / "pytest_model.bin").write_bytes(b"")
    with pytest.raises(UsageError, match=r"has no \.safetensors weights"):
        mistral.load(str(tmp_path))


def test_an_adapter_that_is_none_is_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not an adapter: it has no adapter_config\.json"):
        mistral.load(str(base), str(tmp_path))


# --- adapters ---------------------------------------------------------------------------------------


def test_an_adapter_is_folded_in_and_changes_the_model(base: Path, adapter: Path) -> None:
    import torch
    from peft import PeftModel

    plain = mistral.load(str(base)).model
    adapted = mistral.load(str(base), str(adapter)).model
    with mistral.quiet_peft():
        beside = PeftModel.from_pretrained(mistral.load_network(base), adapter)
    assert type(adapted) is type(plain)
    assert torch.allclose(logits(adapted), logits(beside), atol=1e-4)
    assert not torch.allclose(logits(adapted), logits(plain), atol=1e-1)


@pytest.mark.parametrize(("layers", "seed"), [(3, 0), (2, 1)])
def test_an_adapter_of_another_base_is_refused(adapter: Path, tmp_path: Path, layers: int, seed: int) -> None:
    other = new_model(tmp_path, layers, seed)
    with pytest.raises(UsageError, match="was trained on another base"):
        mistral.load(str(other), str(adapter))


def test_the_fingerprint_is_that_of_the_weights_not_of_the_place(base: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(base, tmp_path / "copy"))
    assert fingerprint(copy) == fingerprint(base)
    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] + torch.tensor(0.01)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint(copy) != fingerprint(base)


# --- answers ----------------------------------------------------------------------------------------


def test_answers_come_in_the_order_of_the_requests(base: Path) -> None:
    model = mistral.load(str(base))
    texts = ["a", TEXT * 3, "", "diabetes and metformin", TEXT]
    together = model.complete([ask(text) for text in texts])
    for text, completion in zip(texts, together, strict=True):
        assert completion.enforced
        assert [(s.start, s.end, s.label) for s in completion.spans] == [
            (s.start, s.end, s.label) for s in model.complete([ask(text)])[0].spans
        ]


def test_batches_hold_like_requests_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistral, "BATCH_TOKENS", 40)
    free = Request((Message("user", (Part("x"),)),), max_new_tokens=9)
    drawn = replace(free, temperature=0.5)
    requests = [ask("a"), free, ask("a"), ask("a"), free, ask("a"), drawn, drawn]
    prompts = [[0] * length for length in (5, 3, 9, 10, 4, 30, 1, 1)]
    batches = list(mistral._batches(prompts, requests))
    assert sorted(batches) == [[0], [3, 2], [4, 1], [5], [6], [7]]
    assert batches.index([5]) < batches.index([3, 2]) < batches.index([0])
    assert list(mistral._batches([], [])) == []


def test_without_a_constraint_the_answer_is_free_text(base: Path) -> None:
    free = Request((Message("user", (Part(TEXT),)),), max_new_tokens=5)
    (completion,) = mistral.load(str(base)).complete([free])
    assert (completion.spans, completion.enforced) == ((), False)


# --- 4 bits -----------------------------------------------------------------------------------------


def test_four_bits_on_a_cpu_hold_the_constraint(base: Path, adapter: Path) -> None:
    import bitsandbytes

    model = mistral.load(str(base), str(adapter), four_bit=True)
    layers = [m for m in model.model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert layers
    assert all(layer.weight.quant_type == "nf4" for layer in layers)
    (completion,) = model.complete([ask(TEXT)])
    assert TaggedCopy(TEXT, LABELS).parse(completion.text) is not None


def test_four_bit_gradients_stay_exact_after_an_evaluation(base: Path) -> None:
    import torch

    def gradient(evaluate_first: bool) -> torch.Tensor:
        torch.manual_seed(0)
        network = lora(mistral.load_network(base, four_bit=True))
        if evaluate_first:
            network.eval()
            logits(network)
        network.train()
        ids = torch.tensor([[1, 3, 60, 61, 62, 4]])
        network(ids, labels=ids).loss.backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    before, after = gradient(False), gradient(True)
    assert before.norm() > 0
    assert torch.nn.functional.cosine_similarity(before, after, dim=0) > 0.999
