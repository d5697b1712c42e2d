"""Writes a Mistral (or Llama) model folder as one GGUF file, what llama.cpp and Ollama run, and checks it.

    clinical models export gguf out/ner-merged -o ner.gguf --type q8_0

Weights are read and written one at a time, so the size of the model does not matter. What differs from the folder:
names; the rows of q and k, because llama.cpp rotates neighbouring numbers of a head where transformers rotates its
halves; numbers of 8 bits where asked for. The file is then read back by transformers, which undoes all that by code of
its own, and its answers to some probe prompts are compared with the folder's.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from clinical.errors import ClinicalError, UsageError
from clinical.finetune.merge import PROBES, answers, divergence, probe_prompts
from clinical.models.adapters import CONFIG
from clinical.models.mistral import find_model, hush_libraries, load_network, load_tokenizer
from clinical.prompts.inline_tags import close_tag, open_tag

Kind = Literal["f32", "f16", "q8_0"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_DIVERGENCE: Mapping[str, float] = {"f32": 1e-6, "f16": 1e-4, "q8_0": 5e-3}
"""Mean Kullback-Leibler divergence from the folder's answers in nats a token, above which nothing is kept."""
ARCHITECTURES = ("mistral", "llama")
CHECKED_MEGABYTES = 4000
"""A folder up to this size is loaded to compare answers; twice that must fit into memory."""

HARD_TEXT = " Hb 10.9 g/dL -- (was 12.3)\n\n  1. Asthma;  2) COPD\t\tµg é 日本 😀 don't ... *** _x_ 1,234.5 "

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@dataclass(frozen=True)
class Exported:
    """A GGUF file. `divergence` is that of its answers from the folder's (nats a token), `None` if not compared."""

    file: Path
    kind: Kind
    megabytes: float
    divergence: float | None
    sliding_window: int | None


def export(model: str, out: Path, kind: Kind = "f16") -> Exported:
    """Write the model of a folder (or name) as a GGUF file, compare its answers with the folder's, and return it.

    Raises `UsageError` for what cannot be written as GGUF, and `ClinicalError` when the answers differ: then the
    file is deleted.
    """
    if (Path(model) / CONFIG).is_file() and not (Path(model) / "config.json").is_file():
        raise UsageError(f"{model} is an adapter; merge it first: clinical models merge BASE {model} -o OUT")
    folder = find_model(model)
    config = _config(folder)
    _require_gguf()
    hush_libraries()
    part = out.with_name(f"{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(folder, config, part, kind, out.stem)
        apart = _compared(folder, part, kind)
        part.replace(out)
    except OSError as error:
        raise ClinicalError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return Exported(out, kind, out.stat().st_size / 1e6, apart, config.get("sliding_window"))


def _require_gguf() -> None:
    from importlib.util import find_spec

    if find_spec("gguf") is None:
        raise UsageError("export needs gguf: pip install 'clinical[gguf]'")


def _config(folder: Path) -> dict[str, Any]:
    """Return the configuration; raises `UsageError` for what this export does not know how to write."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") not in ARCHITECTURES:
        raise UsageError(
            f"{folder} is a {config.get('model_type')} model; {' and '.join(ARCHITECTURES)} can be exported"
        )
    if "quantization_config" in config:
        raise UsageError(f"{folder} holds quantized weights; export the model that they were made from")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise UsageError(f"{folder} stretches its positions ({kind}), which this export does not write")
    if not (folder / "tokenizer.json").is_file():
        raise UsageError(f"{folder} has no tokenizer.json; save its tokenizer with transformers first")
    return config


def _write(folder: Path, config: Mapping[str, Any], file: Path, kind: Kind, name: str) -> None:
    import gguf

    writer = gguf.GGUFWriter(file, "llama")
    try:
        _parameters(writer, config, kind, name)
        _tokenizer(writer, folder, int(config["vocab_size"]))
        for tensor, _, shape, number in _tensors(folder, config, kind):
            _announce(writer, tensor, shape, number)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, read, _, number in _tensors(folder, config, kind):
            writer.write_tensor_data(_numbers(read(), number))
    finally:
        writer.close()


def _parameters(writer: Any, config: Mapping[str, Any], kind: Kind, name: str) -> None:
    import gguf

    heads = int(config["num_attention_heads"])
    head_size = int(config.get("head_dim") or config["hidden_size"] // heads)
    rope = config.get("rope_parameters") or {}
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_vocab_size(int(config["vocab_size"]))
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    types = gguf.LlamaFileType
    writer.add_file_type({"f32": types.ALL_F32, "f16": types.MOSTLY_F16, "q8_0": types.MOSTLY_Q8_0}[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _tensors(
    folder: Path, config: Mapping[str, Any], kind: Kind
) -> Iterator[tuple[str, Any, tuple[int, ...], Any]]:
    """Yield for each weight its name in GGUF, a function that reads it, its shape and the type of its numbers."""
    import gguf
    from safetensors import safe_open

    heads = int(config["num_attention_heads"])
    pairs = {"q_proj": heads, "k_proj": int(config.get("num_key_value_heads") or heads)}
    tied = bool(config.get("tie_word_embeddings"))
    types = gguf.GGMLQuantizationType
    with ExitStack() as opened:
        for path in sorted(folder.glob("model*.safetensors")):
            weights = opened.enter_context(safe_open(path, "pt"))
            for name in weights.keys():  # noqa: SIM118 (it is no dict)
                if name.endswith("rotary_emb.inv_freq") or (tied and name == "lm_head.weight"):
                    continue
                rotated = next((count for layer, count in pairs.items() if f".{layer}." in name), 0)
                shape = tuple(weights.get_slice(name).get_shape())
                number = types.F32 if len(shape) == 1 or kind == "f32" else types.F16
                if len(shape) == 2 and kind == "q8_0" and shape[1] % 32 == 0:
                    number = types.Q8_0

                def read(name: str = name, rotated: int = rotated, weights: Any = weights) -> Any:
                    weight = weights.get_tensor(name).float().numpy()
                    return _in_pairs(weight, rotated) if rotated else weight

                yield gguf_name(name), read, shape, number


def gguf_name(name: str) -> str:
    """Return the name of a weight in GGUF; raises `UsageError` for one that no Mistral or Llama has."""
    if name in NAMES:
        return NAMES[name]
    parts = name.split(".")
    inner = ".".join(parts[3:-1])
    if parts[:2] != ["model", "layers"] or inner not in LAYER_NAMES:
        raise UsageError(f"the weight {name} has no place in a GGUF file of this architecture")
    return f"blk.{parts[2]}.{LAYER_NAMES[inner]}.{parts[-1]}"


def _in_pairs(weight: Any, heads: int) -> Any:
    """Return the rows of q or k so that the two numbers that are rotated together are neighbours."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return rows.swapaxes(1, 2).reshape(weight.shape)


def _announce(writer: Any, name: str, shape: tuple[int, ...], number: Any) -> None:
    import gguf
    import numpy as np

    types = gguf.GGMLQuantizationType
    if number == types.Q8_0:
        stored = gguf.quant_shape_to_byte_shape(shape, number)
        writer.add_tensor_info(name, stored, np.dtype(np.uint8), int(np.prod(stored)), raw_dtype=number)
    else:
        kind = np.dtype(np.float32 if number == types.F32 else np.float16)
        writer.add_tensor_info(name, shape, kind, int(np.prod(shape)) * kind.itemsize)


def _numbers(weight: Any, number: Any) -> Any:
    import gguf
    import numpy as np

    types = gguf.GGMLQuantizationType
    if number == types.Q8_0:
        return gguf.quantize(weight, number)
    return np.ascontiguousarray(weight, dtype=np.float32 if number == types.F32 else np.float16)


def _tokenizer(writer: Any, folder: Path, size: int) -> None:
    """Write vocabulary, merges, special tokens and chat template."""
    stored = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model = stored["model"]
    if model.get("type") != "BPE":
        raise UsageError(f"{folder}: a tokenizer of the kind {model.get('type')} cannot be exported; BPE can")
    added = {entry["content"]: entry for entry in stored.get("added_tokens", ())}
    by_id = {number: token for token, number in model["vocab"].items()}
    by_id |= {entry["id"]: token for token, entry in added.items()}
    # A vocabulary that is smaller than the embedding matrix has rows that no text leads to.
    tokens = [by_id.get(number, f"[PAD{number}]") for number in range(size)]
    tokenizer = load_tokenizer(folder)
    types = [
        _type(token, number in by_id, added, model, tokenizer.unk_token)
        for number, token in enumerate(tokens)
    ]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    spelled_bytes = bool(model.get("byte_fallback"))
    if spelled_bytes:
        # SentencePiece takes the pair with the best score first: that is the order of the merges.
        rank = {merge.replace(" ", ""): place for place, merge in reversed(list(enumerate(merges)))}
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_scores([float(-rank.get(token, len(merges))) for token in tokens])
        writer.add_add_space_prefix(_adds_blank(stored))
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_pieces(stored))
        writer.add_token_merges(merges)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    for write, number in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if number is not None:
            write(int(number))
    writer.add_add_bos_token(tokenizer.bos_token_id is not None)
    writer.add_add_eos_token(False)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _type(
    token: str, known: bool, added: Mapping[str, Any], model: Mapping[str, Any], unknown: str | None
) -> int:
    import gguf

    kinds = gguf.TokenType
    if not known:
        return int(kinds.UNUSED)
    if token == unknown:
        return int(kinds.UNKNOWN)
    if token in added:
        # llama.cpp writes no control token into an answer, and the tags of labels must stand there.
        hidden = added[token]["special"] and not _is_tag(token, added)
        return int(kinds.CONTROL if hidden else kinds.USER_DEFINED)
    is_byte = model.get("byte_fallback") and len(token) == 6 and token.startswith("<0x")
    return int(kinds.BYTE if is_byte else kinds.NORMAL)


def _is_tag(token: str, added: Mapping[str, Any]) -> bool:
    """Return whether the token opens or closes a label; `<s>` and `</s>` pair up like that, but end a text."""
    name = token.strip("<>").removeprefix("/")
    return name != "s" and open_tag(name) in added and close_tag(name) in added


def _adds_blank(stored: Mapping[str, Any]) -> bool:
    """Return whether the tokenizer puts a blank before a text, as SentencePiece's do."""
    told = json.dumps([stored.get("normalizer"), stored.get("pre_tokenizer")])
    return '"Prepend"' in told or '"prepend_scheme": "first"' in told or '"prepend_scheme": "always"' in told


def _pieces(stored: Mapping[str, Any]) -> str:
    """Return llama.cpp's name of the way a byte-level tokenizer cuts a text before it merges.

    Where digits stand alone whatever precedes them it is "refact". Else GPT-2's way gives the tokens of any finer
    cut too, because the merges know of no pair across it; ours is finer in digits and signs.
    """
    told = json.dumps(stored.get("pre_tokenizer"))
    return "refact" if '"Digits"' in told and '"individual_digits": true' in told else "gpt-2"


def _check_tokens(tokenizer: Any, file: Path) -> None:
    """Raise `ClinicalError` when the tokenizer in the file gives other tokens than the folder's."""
    from transformers import AutoTokenizer

    read_back = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
    for text in (*PROBES, HARD_TEXT):
        wanted, found = (each(text, add_special_tokens=False)["input_ids"] for each in (tokenizer, read_back))
        if wanted != found:
            raise ClinicalError(
                f"read back, the file cuts {text[:40]!r}… into other tokens; this tokenizer cannot be exported, and "
                "nothing was written"
            )


def _compared(folder: Path, file: Path, kind: Kind) -> float | None:
    """Return how far the answers of the file are from those of the folder, `None` for a model too large to load twice.

    Raises `ClinicalError` when they are too far, or the tokens are others.
    """
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(folder)
    _check_tokens(tokenizer, file)
    if sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6 > CHECKED_MEGABYTES:
        return None
    prompts = probe_prompts(tokenizer)
    wanted = answers(load_network(folder, four_bit=False).float().eval(), prompts)
    with contextlib.redirect_stderr(io.StringIO()):  # a bar of its own
        read_back = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32, local_files_only=True
        )
    mean, _ = divergence(wanted, answers(read_back.eval(), prompts))
    if not mean <= MOST_DIVERGENCE[kind]:
        raise ClinicalError(
            f"read back, the file answers otherwise than {folder} ({mean:.1e} nats a token, at most "
            f"{MOST_DIVERGENCE[kind]:.0e} is kept); nothing was written"
        )
    return mean
