"""Merging: the merged model answers as base and adapter side by side, from disk, or nothing is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from test_adapters import new_adapter
from test_mistral_models import LABELS, TEXT, new_model

from clinical.cli import cli
from clinical.errors import UsageError
from clinical.finetune import merge as merging
from clinical.finetune.merge import answers, divergence, fold, merge, with_adapter
from clinical.finetune.serving import serve_adapter
from clinical.models import mistral
from clinical.models.fingerprint import fingerprint
from clinical.models.language_model import TaggedCopy


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_adapter(
        base, tmp_path_factory.mktemp("adapters") / "ner", seed=3, recipe="mini", method="lora"
    )


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["models", *map(str, arguments)])


PROMPTS = [[1, 3, 60, 61, 62, 4], [1, 70, 71]]


def test_a_merged_model_answers_as_base_and_adapter(base: Path, adapter: Path, tmp_path: Path) -> None:
    merged = merge(str(base), adapter, tmp_path / "merged")
    assert merged.divergence < 1e-6
    beside = answers(with_adapter(mistral.load_network(base), adapter), PROMPTS)
    alone = answers(mistral.load_network(tmp_path / "merged").eval(), PROMPTS)
    assert divergence(beside, alone)[1] < 1e-5
    assert divergence(answers(mistral.load_network(base).eval(), PROMPTS), alone)[0] > 1e-2
    assert mistral.load_tokenizer(tmp_path / "merged").get_vocab() == mistral.load_tokenizer(base).get_vocab()


def test_the_card_tells_where_it_comes_from(base: Path, adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    merge(str(base), adapter, out)
    card = json.loads((out / "clinical.json").read_text())
    assert {key: card[key] for key in ("prompt", "tasks", "chat")} == {
        "prompt": "ner.v1",
        "tasks": ["ner"],
        "chat": "v3",
    }
    assert "base_fingerprint" not in card  # it is tied to no base any more
    lineage = card["merged_from"]
    assert (lineage["base"], lineage["adapter"], lineage["recipe"]) == ("base", "ner", "mini")
    assert lineage["base_fingerprint"] == fingerprint(base)
    assert str(tmp_path.parent) not in (out / "README.md").read_text()
    assert "| recipe | mini |" in (out / "README.md").read_text()


def test_what_was_trained_on_four_bits_is_folded_into_them_dequantized(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    trained = Path(shutil.copytree(adapter, tmp_path / "qlora"))
    card = json.loads((trained / "clinical.json").read_text())
    (trained / "clinical.json").write_text(json.dumps({**card, "method": "qlora"}))
    merge(str(base), trained, tmp_path / "merged")
    wanted = answers(with_adapter(mistral.load_network(base, four_bit=True), trained), PROMPTS)
    found = answers(mistral.load_network(tmp_path / "merged").eval(), PROMPTS)
    into_original = answers(with_adapter(mistral.load_network(base), trained), PROMPTS)
    assert divergence(wanted, found)[0] < 1e-4
    assert divergence(wanted, into_original)[0] > 10 * divergence(wanted, found)[0]


def test_folding_into_four_bits_is_refused(base: Path, adapter: Path) -> None:
    with pytest.raises(UsageError, match="not merged into 4-bit weights"):
        fold(with_adapter(mistral.load_network(base, four_bit=True), adapter))


def test_a_merge_that_answers_otherwise_leaves_nothing(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "MOST_DIVERGENCE", -1.0)
    result = invoke("merge", base, adapter, "-o", tmp_path / "merged")
    assert result.exit_code == 1
    assert "answers otherwise than with the adapter beside it" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_weights_have_the_precision_asked_for(
    base: Path, adapter: Path, tmp_path: Path, precision: str
) -> None:
    from safetensors import safe_open

    # Random weights of this size make more of rounding than a trained model does.
    result = invoke("merge", base, adapter, "-o", tmp_path / "merged", "--precision", precision)
    assert result.exit_code == 0, result.output
    with safe_open(tmp_path / "merged" / "model.safetensors", "pt") as weights:
        kinds = {str(weights.get_tensor(name).dtype) for name in weights.keys()}  # noqa: SIM118
    assert kinds == {f"torch.{precision}"}


def test_the_command_finds_the_base_and_tells_how_to_serve(base: Path, adapter: Path, tmp_path: Path) -> None:
    assert invoke("add", adapter, "--name", "ner").exit_code == 0
    out = tmp_path / "merged"
    result = invoke("merge", "ner", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(f"{out}: float32, ")
    assert result.stdout.splitlines() == [
        f"clinical ner note.txt --model {out}",
        f"clinical models export gguf {out} -o {out}.gguf",
        f"vllm serve {out} --max-model-len 8192 --structured-outputs-config.backend guidance",
        "clinical ner note.txt --model http://localhost:8000",
    ]
    tagged = mistral.load(str(out)).complete([_ask()])
    assert tagged[0].spans == mistral.load(str(base), str(adapter)).complete([_ask()])[0].spans


def _ask() -> object:
    from clinical.models.language_model import Message, Request
    from clinical.prompts.templates import Part

    return Request((Message("user", (Part("Mark: "), Part(TEXT, "text"))),), TaggedCopy(TEXT, LABELS))


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("full", "is not empty; give another folder"),
        ("none", "is not an adapter: it has no adapter_config.json"),
        ("other", "was trained on another base"),
        ("three", "one base and one adapter are merged; 3 were given"),
        ("lost", "was trained on /no/such/base, which is not here; name the base on this machine"),
    ],
)
def test_merges_that_are_refused(base: Path, adapter: Path, tmp_path: Path, what: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    lost = Path(shutil.copytree(adapter, tmp_path / "lost"))
    card = json.loads((lost / "clinical.json").read_text())
    (lost / "clinical.json").write_text(json.dumps({**card, "base": "/no/such/base"}))
    config = json.loads((lost / "adapter_config.json").read_text())
    (lost / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": None}))
    arguments: dict[str, tuple[object, ...]] = {
        "full": (base, adapter, "-o", tmp_path / "full"),
        "none": (base, tmp_path / "empty", "-o", tmp_path / "out"),
        "other": (new_model(tmp_path / "another", seed=8), adapter, "-o", tmp_path / "out"),
        "three": (base, adapter, adapter, "-o", tmp_path / "out"),
        "lost": (lost, "-o", tmp_path / "out"),
    }
    result = invoke("merge", *arguments[what])
    assert result.exit_code == 2, result.output
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_room_that_vllm_keeps_fits_the_rank() -> None:
    commands = [serve_adapter("b", Path("a"), "ner", rank)[0] for rank in (4, 16, 17, 64)]
    assert [command.split("--max-lora-rank ")[1].split()[0] for command in commands] == [
        "8",
        "16",
        "32",
        "64",
    ]
