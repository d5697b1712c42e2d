"""Adapters by name: added, chosen, verified, refused on another base, several of them in one batch."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from test_mistral_models import lora, new_model

from clinical.batch.ner import NerJob
from clinical.cli import cli
from clinical.errors import ClinicalError, UsageError
from clinical.models import adapters, loading, mistral, settings
from clinical.models.adapter_batch import PLAIN, load_several
from clinical.models.fingerprint import fingerprint, tokenizer_sha256


def new_adapter(base: Path, folder: Path, seed: int, **card: object) -> Path:
    """An adapter of random weights on a base, with a card as training writes it."""
    import torch

    network = lora(mistral.load_network(base))
    torch.manual_seed(seed)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    network.save_pretrained(folder)
    ties = {
        "base_fingerprint": fingerprint(base),
        "tokenizer_sha256": tokenizer_sha256(base),
        "base": str(base),
    }
    told = {**ties, "chat": "v3", "tasks": ["ner"], "prompt": "ner.v1", "dev_score": 0.5, **card}
    (folder / "clinical.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def one(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_adapter(base, tmp_path_factory.mktemp("adapters") / "one", seed=3)


@pytest.fixture(scope="module")
def two(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_adapter(base, tmp_path_factory.mktemp("adapters") / "two", seed=4)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["models", *map(str, arguments)])


def refused(*arguments: object) -> str:
    """The one line by which a call is refused."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: ")
    return result.stderr.removeprefix("Error: ").rstrip()


# --- the registry ------------------------------------------------------------------------------------


def test_an_adapter_is_added_chosen_used_and_deleted(base: Path, one: Path) -> None:
    added = invoke("add", one, "--name", "first")
    assert added.exit_code == 0, added.output
    assert added.stdout == f"clinical models use {base} --adapter first --task ner\n"
    adapter = adapters.find("first")
    assert (adapter.base, adapter.chat, adapter.tasks, adapter.dev_score, adapter.rank) == (
        str(base), "v3", ("ner",), 0.5, 4,
    )  # fmt: skip
    assert adapter.base_fingerprint == fingerprint(base)
    assert adapters.default_for(base, "ner") is None

    chosen = invoke("use", base, "--adapter", "first")
    assert chosen.exit_code == 0, chosen.output
    assert settings.chosen_model() == str(base)
    assert settings.chosen_adapters() == {fingerprint(base): {"ner": "first"}}
    assert adapters.default_for(base, "ner") == adapter.folder
    assert adapters.default_for(base, "search") is None
    assert f"*\tfirst\tmistral\tadapter for ner on {base}\t" in invoke("list").stdout
    assert invoke("path", "first").stdout == f"{adapter.folder}\n"

    assert invoke("use", base, "--task", "ner", "--no-adapter").exit_code == 0
    assert settings.chosen_adapters() == {}
    assert invoke("use", base, "--adapter", "first").exit_code == 0
    deleted = invoke("rm", "first", "--yes")
    assert deleted.exit_code == 0, deleted.output
    assert settings.chosen_adapters() == {}
    assert adapters.registered() == []
    assert (one / "adapter_model.safetensors").is_file()


def test_show_tells_what_an_adapter_is_and_how_to_serve_it(base: Path, one: Path) -> None:
    adapters.add(one, base, "some-base", "first")
    shown = invoke("show", "first").stdout
    assert f"base: some-base (fingerprint {fingerprint(base)})\n" in shown
    assert "held-out score: 0.5\n" in shown
    folder = adapters.find("first").folder
    assert (
        f"to serve it: vllm serve some-base --enable-lora --lora-modules first={folder} --max-lora-rank 8 "
        "--structured-outputs-config.backend guidance\n"
        "to use it then: clinical ner note.txt --model http://localhost:8000#first\n"
    ) in shown


def test_a_default_adapter_is_used_without_being_named(base: Path, one: Path, two: Path) -> None:
    for name, folder in (("first", one), ("second", two)):
        adapters.add(folder, base, str(base), name)
    plain, first, second = (
        loading.load(str(base), "ner", adapter).model for adapter in (None, "first", str(two))
    )
    adapters.choose(base, "ner", "first")
    by_default = loading.load(str(base), "ner").model
    assert [same(by_default, other) for other in (plain, first, second)] == [False, True, False]
    assert same(loading.load(str(base), "search").model, plain)


def test_results_by_another_adapter_are_not_taken_for_done(base: Path, one: Path, two: Path) -> None:
    for name, folder in (("first", one), ("second", two)):
        adapters.add(folder, base, str(base), name)
    plain = NerJob(model=str(base)).load().identity
    assert "registered_adapter" not in plain
    seen = {}
    for name in ("first", "second"):
        adapters.choose(base, "ner", name)
        seen[name] = NerJob(model=str(base)).load().identity
        assert {key: seen[name][key] for key in plain} == plain
        assert seen[name] == NerJob(model=str(base), adapter=name).load().identity
    assert seen["first"]["registered_adapter"] != seen["second"]["registered_adapter"]


def same(left: object, right: object) -> bool:
    import torch

    ids = torch.tensor([[1, 3, 60, 61, 62, 4]])
    with torch.inference_mode():
        one, other = (model.model(ids).logits for model in (left, right))  # type: ignore[attr-defined]
    return bool(torch.allclose(one, other, atol=1e-5))


@pytest.mark.parametrize("key", ["base_fingerprint", "tokenizer_sha256"])
def test_what_was_trained_on_something_else_is_refused(
    base: Path, one: Path, tmp_path: Path, key: str
) -> None:
    other = Path(shutil.copytree(one, tmp_path / "other"))
    card = json.loads((other / "clinical.json").read_text())
    (other / "clinical.json").write_text(json.dumps({**card, key: "0123456789abcdef"}))
    what = "base" if key == "base_fingerprint" else "tokenizer"
    assert f"was trained on another {what} (0123456789abcdef; {base} has" in refused("add", other)
    assert adapters.registered() == []


def test_an_adapter_is_not_chosen_for_another_base(base: Path, one: Path, tmp_path: Path) -> None:
    adapters.add(one, base, str(base), "first")
    other = new_model(tmp_path / "other", seed=5)
    assert "adapter first was trained on another base" in refused("use", other, "--adapter", "first")
    assert settings.chosen_model() is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("add", "nowhere"), "nowhere is not an adapter: it has no adapter_config.json"),
        (("use", "clinical-mini", "--adapter", "frist"), "did you mean first?"),
        (("use", "clinical-mini", "--task", "ner"), "--task goes with --adapter or --no-adapter"),
        (("use", "--none", "--task", "ner"), "--none takes nothing else with it"),
        (("use", "http://localhost:1/v1", "--adapter", "first"), "an adapter is the server's to load"),
        (("verify", "second"), "no adapter 'second'"),
        (("rm", "light-ner", "--yes"), "light-ner is no adapter of the registry"),
        (("rm", "first"), "was kept; --yes deletes it without asking"),
    ],
)
def test_calls_that_are_refused(base: Path, one: Path, arguments: tuple[str, ...], reason: str) -> None:
    adapters.add(one, base, str(base), "first")
    assert reason in refused(*arguments)
    assert [adapter.name for adapter in adapters.registered()] == ["first"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("first", "there is an adapter 'first'"), ("a/b", "cannot be a name"), ("", "cannot be")],
)
def test_names_that_cannot_be_given(base: Path, one: Path, name: str, reason: str) -> None:
    adapters.add(one, base, str(base), "first")
    with pytest.raises(UsageError, match=reason):
        adapters.add(one, base, str(base), name or "..")


def test_pickled_weights_are_not_added(base: Path, one: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(one, tmp_path / "other"))
    (other / "adapter_model.safetensors").rename(other / "adapter_model.bin")
    assert "has no adapter_model.safetensors; other formats can run code" in refused("add", other)


def test_a_damaged_record_is_one_line(base: Path, one: Path) -> None:
    adapter = adapters.add(one, base, str(base), "first")
    (adapter.folder / "adapter.json").write_text("{}")
    with pytest.raises(ClinicalError, match="is damaged; delete"):
        adapters.registered()


# --- verify ------------------------------------------------------------------------------------------


def test_what_is_as_it_was_holds(base: Path, one: Path) -> None:
    adapters.add(one, base, str(base), "first")
    result = invoke("verify", "first")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "checksums: ok", "base: ok", "tokenizer: ok", "chat format: ok", "prompt: ok", "loads and answers: ok",
    ]  # fmt: skip


def test_what_has_changed_is_told(base: Path, one: Path, tmp_path: Path) -> None:
    adapter = adapters.add(one, base, str(base), "first")
    with (adapter.folder / "adapter_config.json").open("a") as file:
        file.write("\n")
    card = json.loads((adapter.folder / "clinical.json").read_text())
    told = {**card, "prompts": {"ner": "ner.v1"}, "prompts_sha256": {"ner": "0"}}
    (adapter.folder / "clinical.json").write_text(json.dumps(told))
    other = new_model(tmp_path / "other", seed=6)
    faults = {c.what: c.fault for c in adapters.verify(replace(adapter, chat="v1"), other)}
    assert faults == {
        "checksums": "changed since it was added: adapter_config.json, clinical.json",
        "base": f"{fingerprint(base)} is wanted, {other} has {fingerprint(other)}",
        "tokenizer": "",
        "chat format": f"v1 is wanted, {other} speaks v3",
        "prompt": "not as it was trained with: ner.v1; train it anew or give --prompt",
    }
    result = invoke("verify", "first")
    assert result.exit_code == 1
    (adapter.folder / "adapter_model.safetensors").unlink()
    assert "missing: adapter_model.safetensors" in next(adapters.verify(adapter, base)).fault


def test_an_adapter_that_changes_nothing_is_told(base: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    lora(mistral.load_network(base)).save_pretrained(empty)  # as peft begins: nothing learned
    adapter = adapters.add(empty, base, str(base))
    faults = {c.what: c.fault for c in adapters.verify(adapter, base)}
    assert faults["loads and answers"] == "it changes nothing"
    assert adapter.tasks == ()


# --- several in one batch ----------------------------------------------------------------------------


@pytest.mark.parametrize("four_bit", [False, True])
def test_each_row_is_answered_as_by_its_adapter_alone(
    base: Path, one: Path, two: Path, four_bit: bool
) -> None:
    import torch

    prompts = [[1, 3, 60, 61], [1, 3, 70, 71, 72, 4], [1, 60], [1, 3, 60, 61]]
    rows = ["one", "two", PLAIN, "two"]
    several = load_several(str(base), {"one": one, "two": two}, four_bit=four_bit)
    together = several.logits(prompts, rows)
    for prompt, name, found in zip(prompts, rows, together, strict=True):
        network = mistral.load_network(base, four_bit=four_bit)
        if name != PLAIN:
            from peft import PeftModel

            with mistral.quiet_peft():
                network = PeftModel.from_pretrained(network, one if name == "one" else two)
        with torch.inference_mode():
            alone = network.eval()(torch.tensor([prompt])).logits[0]
        assert torch.allclose(found, alone, atol=2e-5), name
    assert not torch.allclose(together[0], together[3], atol=1e-1)
    answers = several.generate(prompts, rows, max_new_tokens=6)
    assert [
        several.generate([p], [r], max_new_tokens=6)[0] for p, r in zip(prompts, rows, strict=True)
    ] == answers


def test_adapters_of_the_registry_in_one_batch(base: Path, one: Path) -> None:
    adapters.add(one, base, str(base), "first")
    several = load_several(str(base), {"ner": "first"})
    with pytest.raises(UsageError, match="no adapter search was loaded; there are: ner, __base__"):
        several.logits([[1, 2]], ["search"])
    with pytest.raises(UsageError, match="name at least one adapter"):
        load_several(str(base), {})
