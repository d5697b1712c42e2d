"""The training driver: it learns, stops, goes on exactly where it was, and leaves an adapter that the tasks take."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from finetune_base import lasting, recipe, write_base

from clinical.errors import UsageError
from clinical.finetune.run_folder import PARTS, RunFolder
from clinical.finetune.training import train

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
DRIVER = Path(__file__).with_name("finetune_driver.py")


@pytest.fixture(scope="module", autouse=True)
def no_corpora(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Made-up notes are filled from the corpora where they are; here always with the same words."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLINICAL_CORPORA", str(tmp_path_factory.mktemp("none")))
        # The order of a sum depends on how many threads share it.
        patch.setenv("OMP_NUM_THREADS", "1")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def straight(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupts: twelve steps with an evaluation and a checkpoint every four."""
    return train(recipe(base), tmp_path_factory.mktemp("runs") / "straight")


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def test_it_learns_and_says_what_it_did(straight: Path, base: Path) -> None:
    records = lasting(straight)
    losses = [record["loss"] for record in records if "loss" in record]
    scored = [record for record in records if "score" in record]
    assert [record["step"] for record in scored] == [0, 4, 8, 12]
    assert len(losses) == 12
    assert scored[-1]["eval_loss"] < scored[0]["eval_loss"] - 0.1
    assert sorted(path.name for path in straight.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "clinical.json", "config.yaml", "loss.svg", "metrics.jsonl",
        "report.html", "run.json",
    ]  # fmt: skip
    for name in ("adapter_config.json", "clinical.json", "metrics.jsonl", "run.json"):
        assert str(base) not in (straight / name).read_text(encoding="utf-8")


def test_the_adapter_is_one_that_the_tasks_take(straight: Path, base: Path) -> None:
    from clinical.models.fingerprint import fingerprint
    from clinical.models.mistral_tagger import MistralTagger
    from clinical.prompts.labels import by_name

    card = json.loads((straight / "clinical.json").read_text(encoding="utf-8"))
    scored = [record for record in lasting(straight) if "score" in record and record["step"]]
    best = max(scored, key=lambda record: (record["score"], -record["eval_loss"]))
    assert card["base_fingerprint"] == fingerprint(base)
    assert (card["prompt"], card["chunk_pieces"], card["chat"], card["tasks"]) == (
        "ner.short.v1",
        96,
        "v3",
        ["ner"],
    )
    assert (card["dev_score"], card["dev_step"]) == (best["score"], best["step"])
    tagger = MistralTagger.load(str(base), str(straight))
    assert (tagger.template.name, tagger.chunk_pieces) == ("ner.short.v1", 96)
    (found,) = tagger.tag(["Given aspirin."], by_name(["Medication"]))
    assert all("Given aspirin."[entity.start : entity.end] == entity.text for entity in found)


def test_a_run_can_go_on_from_an_adapter(straight: Path, base: Path, tmp_path: Path) -> None:
    best = json.loads((straight / "clinical.json").read_text(encoding="utf-8"))
    begun = recipe(base)
    further = replace(begun, lora=replace(begun.lora, start=str(straight)))
    out = train(further, tmp_path / "further")
    first, *_, last = [record for record in lasting(out) if "score" in record]
    assert first["eval_loss"] == pytest.approx(best["dev_scores"]["eval_loss"], abs=1e-4)
    assert last["eval_loss"] < first["eval_loss"]
    assert json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))["r"] == begun.lora.r


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"start": "nowhere"}, "lora.start: nowhere is neither the folder of an adapter nor a task that"),
        ({"start": "STRAIGHT", "r": 16}, "--set lora.r=4 --set lora.alpha=8"),
        ({"start": "OTHER"}, "was trained on another base"),
    ],
)
def test_an_adapter_that_does_not_fit_is_no_start(
    changed: dict[str, Any], said: str, straight: Path, base: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(straight, other)
    card = json.loads((other / "clinical.json").read_text(encoding="utf-8"))
    (other / "clinical.json").write_text(json.dumps({**card, "base_fingerprint": "0"}), encoding="utf-8")
    places = {"STRAIGHT": str(straight), "OTHER": str(other)}
    begun = recipe(base)
    lora = replace(begun.lora, **{**changed, "start": places.get(changed["start"], changed["start"])})
    with pytest.raises(UsageError, match=re.escape(said)):
        train(replace(begun, lora=lora), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_killed_goes_on_exactly_where_it_was(
    straight: Path, base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(DRIVER.parent), *sys.path])}
    with subprocess.Popen(
        [sys.executable, str(DRIVER), str(base), str(out)], stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{") and json.loads(line)["step"] == 6:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert RunFolder(out).last_checkpoint() == out / "checkpoints" / "checkpoint-4"
    train(recipe(base), out, resume=True)
    assert weights(out) == weights(straight)
    assert lasting(out) == lasting(straight)


def test_ctrl_c_saves_and_the_run_goes_on(straight: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"

    def interrupt(record: dict[str, Any]) -> None:
        if record["step"] == 5 and "loss" in record:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(
        KeyboardInterrupt, match=r"Stopped at step \d of 12 and saved in .*same command and --resume"
    ):
        train(recipe(base), out, watch=interrupt)
    assert not RunFolder(out).is_done
    train(recipe(base), out, resume=True)
    assert weights(out) == weights(straight)


def test_a_folder_with_another_run_is_left_alone(straight: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a run already, which is done; or give another --out"):
        train(recipe(base), straight)
    with pytest.raises(UsageError, match="is done; nothing to resume"):
        train(recipe(base), straight, resume=True)
    with pytest.raises(UsageError, match="holds no run to resume; leave --resume out"):
        train(recipe(base), tmp_path / "none", resume=True)
    copy = tmp_path / "other"
    shutil.copytree(straight, copy)
    (copy / "clinical.json").unlink()
    with pytest.raises(UsageError, match=r"a run of another recipe: lora\.r \(4 then, 8 now\)"):
        train(recipe(base, "lora.r=8"), copy, resume=True)


def test_a_checkpoint_that_was_being_written_is_not_resumed_from(tmp_path: Path) -> None:
    for step, state in ((4, "{}"), (8, '{"epoch'), (12, "")):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        for part in PARTS[1:]:
            (folder / part).touch()
        if state:
            (folder / PARTS[0]).write_text(state)
    assert RunFolder(tmp_path).last_checkpoint() == tmp_path / "checkpoints" / "checkpoint-4"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-4"]


def gradients(trainer: Any) -> Any:
    """Return the gradients of all trained weights on the first rows."""
    import torch

    trainer.model.train()
    trainer.model.zero_grad()
    batch = trainer.data_collator([trainer.train_dataset[number] for number in range(4)])
    trainer.compute_loss(trainer.model, batch).backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.requires_grad])


def test_four_bit_layers_still_learn_after_an_evaluation(base: Path, tmp_path: Path) -> None:
    """On CPUs with AVX512-BF16 bitsandbytes repacks 4-bit weights in eval mode, and their gradients are lost."""
    import torch

    from clinical.finetune.preparation import prepare
    from clinical.finetune.training import Run, _quiet, make_trainer
    from clinical.models.chat import V3
    from clinical.models.mistral import load_tokenizer

    small = recipe(base, "method=qlora", "lora.dropout=0", "data.0.limit=4")
    tokenizer = load_tokenizer(base)
    run = Run(
        small, RunFolder(tmp_path), base, tokenizer, V3, prepare(small, tokenizer, V3), lambda record: None
    )
    with _quiet():
        trainer = make_trainer(run)
        before = gradients(trainer)
        trainer.evaluate()
        after = gradients(trainer)
    assert before.norm() > 0
    assert torch.nn.functional.cosine_similarity(before, after, dim=0) == pytest.approx(1.0, abs=1e-5)


def test_qlora_learns_like_lora(base: Path, straight: Path, tmp_path: Path) -> None:
    """With evaluations in between, the loss goes the same way but for the rounding of the base to 4 bits."""
    four_bit = train(recipe(base, "method=qlora"), tmp_path / "qlora")
    ours = [record["eval_loss"] for record in lasting(four_bit) if "eval_loss" in record]
    theirs = [record["eval_loss"] for record in lasting(straight) if "eval_loss" in record]
    assert ours == pytest.approx(theirs, rel=0.02)
    learned = theirs[0] - theirs[-1]
    assert ours[0] - ours[-1] == pytest.approx(learned, rel=0.25)


def test_it_ends_when_it_learns_no_more(base: Path, tmp_path: Path) -> None:
    small = recipe(
        base, "train.learning_rate=1e-12", "evaluate.every=2", "evaluate.patience=2", "evaluate.metric=loss"
    )
    out = train(small, tmp_path / "out")
    steps = [record["step"] for record in lasting(out) if "loss" in record]
    assert steps[-1] < 12


def test_packed_rows_train_too(base: Path, tmp_path: Path) -> None:
    out = train(recipe(base, "packing=true", "evaluate.every=0", "evaluate.metric=loss"), tmp_path / "out")
    records = lasting(out)
    assert sum("loss" in record for record in records) < 12
    assert records[-1]["eval_loss"] < records[0]["eval_loss"]


def test_decisions_are_learned_among_what_the_constraint_allows(base: Path, tmp_path: Path) -> None:
    """The loss is that of `clinical.finetune.mistral_ner`, which takes the same rows one by one."""
    import torch

    from clinical.finetune import mistral_ner
    from clinical.finetune.mistral_rows import Row
    from clinical.finetune.preparation import prepare
    from clinical.finetune.training import _collate, decision_loss
    from clinical.models.chat import V3
    from clinical.models.mistral import load_network, load_tokenizer

    tokenizer = load_tokenizer(base)
    prepared = prepare(recipe(base, "train.loss=decisions", "data.0.limit=5"), tokenizer, V3)
    network = load_network(base)
    rows = [
        {"input_ids": row.ids, "labels": row.labels, "options": row.options, "learned": list(row.learned[-1])}
        for row in prepared.rows
    ]
    batch = _collate(0)(rows)
    same = [Row(row.ids, row.learned[-1][0], row.options) for row in prepared.rows]
    with torch.no_grad():
        ours = decision_loss(network, batch, 0.2)
        theirs = mistral_ner.decision_loss(network, same, 0.2)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    out = train(
        recipe(base, "train.loss=decisions", "train.accumulation=2", "data.0.limit=16"), tmp_path / "out"
    )
    assert lasting(out)[-1]["eval_loss"] < lasting(out)[0]["eval_loss"]


def test_all_weights_of_a_small_model(base: Path, tmp_path: Path) -> None:
    from clinical.models.mistral_tagger import MistralTagger

    out = train(
        recipe(base, "method=full", "train.learning_rate=3e-3", "train.max_steps=4", "evaluate.metric=loss"),
        tmp_path / "out",
    )
    assert lasting(out)[-1]["eval_loss"] < lasting(out)[0]["eval_loss"]
    assert MistralTagger.load(str(out)).template.name == "ner.short.v1"


def test_without_the_extra_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    from clinical.finetune import training

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "trl" else object())
    with pytest.raises(UsageError, match=r"training needs trl: pip install 'clinical\[train\]'"):
        training.require_trl()
