"""GGUF: what is written is what transformers reads back, in every type, and the tokenizer travels along."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from test_adapters import new_adapter
from test_mistral_models import new_model

from clinical.cli import cli
from clinical.errors import UsageError
from clinical.finetune import export_gguf
from clinical.finetune.export_gguf import KINDS, Kind, export, gguf_name
from clinical.models import mistral

CLINICAL_MINI = "clinical-mini"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose numbers of a head are not those of its width, with an output of its own."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    folder = new_model(tmp_path_factory.mktemp("model") / "base")
    torch.manual_seed(0)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    config = MistralConfig(
        vocab_size=size, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, sliding_window=None, initializer_range=0.2, tie_word_embeddings=False,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config.rope_parameters = {"rope_type": "default", "rope_theta": 1_000_000.0}
    MistralForCausalLM(config).save_pretrained(folder)
    return folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["models", "export", "gguf", *map(str, arguments)])


def values(file: Path) -> dict[str, Any]:
    import gguf

    return {name: entry.contents() for name, entry in gguf.GGUFReader(file).fields.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_back_answers_as_the_folder(model: Path, tmp_path: Path, kind: Kind) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    made = export(str(model), tmp_path / "a.gguf", kind)
    assert made.divergence is not None
    assert made.divergence <= export_gguf.MOST_DIVERGENCE[kind]
    back = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="a.gguf", dtype=torch.float32).eval()
    ids = torch.tensor([[1, 3, 60, 61, 62, 4]])
    with torch.inference_mode():
        wanted, found = mistral.load_network(model).eval()(ids).logits, back(ids).logits
    assert torch.allclose(wanted, found, atol={"f32": 1e-4, "f16": 2e-2, "q8_0": 0.5}[kind])
    assert not torch.equal(wanted, torch.zeros_like(wanted))


def test_types_are_as_small_as_they_say(model: Path, tmp_path: Path) -> None:
    import gguf

    sizes = {}
    for kind in KINDS:
        export(str(model), tmp_path / f"{kind}.gguf", kind)
        tensors = gguf.GGUFReader(tmp_path / f"{kind}.gguf").tensors
        assert {str(t.tensor_type.name) for t in tensors if len(t.shape) == 1} == {"F32"}
        assert {str(t.tensor_type.name) for t in tensors if len(t.shape) == 2} == {kind.upper()}
        sizes[kind] = sum(int(t.n_bytes) for t in tensors)
    assert sizes["f32"] > 1.9 * sizes["f16"] > 3.3 * sizes["q8_0"]


@pytest.mark.embedded
def test_the_shipped_model_with_its_tokenizer_and_template(tmp_path: Path) -> None:
    made = export(CLINICAL_MINI, tmp_path / "tiny.gguf", "f32")
    assert made.divergence is not None
    assert made.divergence < 1e-9
    told = values(tmp_path / "tiny.gguf")
    tokenizer = mistral.load_tokenizer(mistral.find_model(CLINICAL_MINI))
    vocabulary = tokenizer.get_vocab()
    assert told["general.architecture"] == "llama"
    assert told["llama.attention.head_count"] == 6
    assert told["llama.attention.head_count_kv"] == 2
    assert told["llama.rope.dimension_count"] == 32
    assert told["tokenizer.ggml.model"] == "gpt2"
    assert told["tokenizer.ggml.pre"] == "gpt-2"
    assert {token: number for number, token in enumerate(told["tokenizer.ggml.tokens"])} == vocabulary
    assert told["tokenizer.chat_template"] == tokenizer.chat_template
    assert (told["tokenizer.ggml.bos_token_id"], told["tokenizer.ggml.eos_token_id"]) == (1, 2)
    control = [
        told["tokenizer.ggml.tokens"][n]
        for n, kind in enumerate(told["tokenizer.ggml.token_type"])
        if kind == 3
    ]
    # Tags of labels are words of the answer: llama.cpp would leave out control tokens.
    assert set(control) == {"<pad>", "<s>", "</s>", "[INST]", "[/INST]"}


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with the tokenizer of Mistral-7B-Instruct-v0.3."""
    import mistral_common
    import torch
    from transformers import LlamaTokenizer, MistralConfig, MistralForCausalLM

    folder = tmp_path_factory.mktemp("v3")
    data = Path(mistral_common.__file__).parent / "data"
    shutil.copy(data / "mistral_instruct_tokenizer_240323.model.v3", folder / "tokenizer.model")
    LlamaTokenizer.from_pretrained(folder).save_pretrained(folder)
    (folder / "tokenizer.model").unlink()
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=32768, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=4096,
    )  # fmt: skip
    MistralForCausalLM(config).save_pretrained(folder)
    return folder


def test_the_tokenizer_of_mistral_travels_along(sentencepiece: Path, tmp_path: Path) -> None:
    made = export(str(sentencepiece), tmp_path / "a.gguf", "f16")  # compares tokens too
    assert made.sliding_window == 4096
    told = values(tmp_path / "a.gguf")
    tokens, kinds = told["tokenizer.ggml.tokens"], told["tokenizer.ggml.token_type"]
    assert (told["tokenizer.ggml.model"], told["tokenizer.ggml.add_space_prefix"]) == ("llama", True)
    assert [kinds[tokens.index(token)] for token in ("<unk>", "<s>", "[INST]", "<0x0A>", "▁the")] == [
        2,
        3,
        3,
        6,
        1,
    ]
    scores = dict(zip(tokens, told["tokenizer.ggml.scores"], strict=True))
    assert scores["▁t"] > scores["▁the"] > scores["▁patient"] > scores["a"]


def test_a_tokenizer_that_comes_out_otherwise_is_not_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "other"))
    stored = json.loads((folder / "tokenizer.json").read_text())
    stored["model"]["merges"] = stored["model"]["merges"][:1]
    real = export_gguf.load_tokenizer(folder)
    (folder / "tokenizer.json").write_text(json.dumps(stored))
    monkeypatch.setattr(export_gguf, "load_tokenizer", lambda where: real)
    result = invoke(folder, "-o", tmp_path / "a.gguf")
    assert result.exit_code == 1
    assert "into other tokens; this tokenizer cannot be exported" in result.stderr
    assert not (tmp_path / "a.gguf").exists()


def test_the_command_writes_a_modelfile_and_tells_how_to_serve(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "Ner.gguf"
    result = invoke(model, "-o", out, "--type", "q8_0")
    assert result.exit_code == 0, result.output
    assert "nats a token apart" in result.stderr
    assert result.stdout.splitlines() == [
        f"llama-server -m {out} -c 8192 --port 8080",
        "clinical ner note.txt --model http://localhost:8080",
        f"ollama create ner -f {tmp_path / 'Ner.Modelfile'}",
        "clinical ner note.txt --model http://localhost:11434#ner",
    ]
    assert (tmp_path / "Ner.Modelfile").read_text() == (
        'FROM ./Ner.gguf\nTEMPLATE """[INST] {{ if .System }}{{ .System }}\n\n{{ end }}{{ .Prompt }}[/INST]"""\n'
        'PARAMETER temperature 0\nPARAMETER num_ctx 8192\nPARAMETER stop "</s>"\n'
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Ner.Modelfile", "Ner.gguf"]


def test_a_file_that_answers_otherwise_is_not_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_gguf, "_in_pairs", lambda weight, heads: weight)  # the usual mistake
    result = invoke(model, "-o", tmp_path / "a.gguf")
    assert result.exit_code == 1
    assert "the file answers otherwise than" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "qwen3"}, "is a qwen3 model; mistral and llama can be exported"),
        ({"quantization_config": {}}, "holds quantized weights"),
        (
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            "stretches its positions (linear)",
        ),
    ],
)
def test_models_that_cannot_be_written(
    model: Path, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    result = invoke(folder, "-o", tmp_path / "a.gguf")
    assert result.exit_code == 2, result.output
    assert reason in result.stderr
    assert not (tmp_path / "a.gguf").exists()


def test_an_adapter_is_to_be_merged_first(model: Path, tmp_path: Path) -> None:
    base = new_model(tmp_path / "base")
    result = invoke(new_adapter(base, tmp_path / "ner", seed=1), "-o", tmp_path / "a.gguf")
    assert result.exit_code == 2
    assert "is an adapter; merge it first: clinical models merge BASE" in result.stderr
    assert "ends in .gguf" in invoke(model, "-o", tmp_path / "a.bin").stderr


def test_a_weight_without_a_place_is_named() -> None:
    assert gguf_name("model.layers.3.self_attn.q_proj.weight") == "blk.3.attn_q.weight"
    with pytest.raises(UsageError, match=r"the weight model\.layers\.3\.moe\.gate\.weight has no place"):
        gguf_name("model.layers.3.moe.gate.weight")
