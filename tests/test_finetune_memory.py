"""The estimate of memory against what torch really allocates, and what it advises."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
from finetune_base import write_base

from clinical.finetune.memory import LLAMA2_7B, MISTRAL_7B, Shape, estimate, flops, that_fits
from clinical.finetune.recipe import Recipe, load, parse

TOLERANCE = 0.1
BATCH, LENGTH = 4, 192


def small(*changes: str) -> Recipe:
    text = f"base: x\ndata: [{{corpus: x}}]\ntrain: {{batch: {BATCH}}}\nmax_length: {LENGTH}\n"
    return parse(text, "small.yaml", changes)


def measured(base: Path, out: Path, recipe: Recipe, *, checkpointing: bool) -> float:
    """Return the most bytes that tensors have during two steps of the real trainer."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_iter

    from clinical.finetune.preparation import Prepared
    from clinical.finetune.rows import TrainingRow
    from clinical.finetune.run_folder import RunFolder
    from clinical.finetune.training import Run, _quiet, make_trainer, require_trl
    from clinical.models.chat import V3
    from clinical.models.mistral import load_tokenizer

    class Peak(TorchDispatchMode):
        """Counts the bytes of all tensors that are made while it lasts, as long as they live."""

        def __init__(self, known: set[int]) -> None:
            super().__init__()
            self.now = self.peak = 0
            self.seen: dict[int, Any] = {}
            self.known = known

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for tensor in tree_iter(out):
                if isinstance(tensor, torch.Tensor):
                    self.add(tensor.untyped_storage())
            return out

        def add(self, storage: Any) -> None:
            key, size = storage._cdata, storage.nbytes()
            if key in self.seen or key in self.known:
                return

            def gone(_: Any) -> None:
                self.now -= size
                self.seen.pop(key, None)

            self.now += size
            self.peak = max(self.peak, self.now)
            self.seen[key] = weakref.ref(storage, gone)

    require_trl()
    row = TrainingRow([1] + [7] * (LENGTH - 1), ((LENGTH // 2, LENGTH),), "chat", "row")
    count = 2 * BATCH
    prepared = Prepared(rows=[row] * count, order=list(range(count)), rows_of_a_pass=count, dev=[row])
    run = Run(recipe, RunFolder(out), base, load_tokenizer(base), V3, prepared, lambda record: None)
    with _quiet():
        trainer = make_trainer(run)
        trainer.args.eval_strategy = trainer.args.save_strategy = "no"
        if checkpointing:
            trainer.model.enable_input_require_grads()
            trainer.model.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        tensors = [*trainer.model.parameters(), *trainer.model.buffers()]
        for module in trainer.model.modules():
            state = getattr(getattr(module, "weight", None), "quant_state", None)
            if state is not None:
                tensors += [state.absmax, state.state2.absmax]
        storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
        with Peak(set(storages)) as peak:
            trainer.train()
    return float(sum(storages.values()) + peak.peak)


@pytest.mark.parametrize(
    "changes",
    [
        ("lora.targets=[q_proj, v_proj]", "lora.dropout=0.05", "method=qlora"),
        ("method=full", "precision=fp32"),
        ("packing=true",),
        ("train.checkpointing=true", "lora.dropout=0.1"),
    ],
    ids=["qlora-qv-dropout", "full", "packing", "checkpointing"],
)
@pytest.mark.filterwarnings("ignore")
def test_the_estimate_is_what_torch_allocates(changes: tuple[str, ...], tmp_path: Path) -> None:
    import json

    base = write_base(tmp_path / "base", hidden=128, layers=4)
    recipe = small(*changes)
    checkpointing = recipe.train.checkpointing
    shape = Shape.of(json.loads((base / "config.json").read_text(encoding="utf-8")))
    real = measured(base, tmp_path / "out", recipe, checkpointing=checkpointing)
    found = estimate(recipe, shape, "cpu", LENGTH, checkpointing=checkpointing).peak
    assert found == pytest.approx(real, rel=TOLERANCE)


def test_shapes_have_the_weights_that_are_published() -> None:
    assert MISTRAL_7B.in_layers + MISTRAL_7B.others == 7_248_023_552
    assert LLAMA2_7B.in_layers + LLAMA2_7B.others == 6_738_415_616
    assert MISTRAL_7B.adapter(16, ("all-linear",)) == 41_943_040
    assert MISTRAL_7B.adapter(64, ("q_proj", "v_proj")) == 27_262_976


def test_a_7b_in_four_bits_needs_what_is_known_of_it() -> None:
    """Anchors: 7 to 9 GB for QLoRA of a 7B with checkpointing; 14.5 GB of weights in bf16."""
    qlora = load("suite-mistral-7b-qlora", ["train.batch=2", "max_length=1024", "lora.r=64"])
    assert 7e9 < estimate(qlora, MISTRAL_7B, "cuda").needed < 9.5e9
    lora = load("medquad-mistral-7b-lora")
    assert estimate(lora, MISTRAL_7B, "cuda").weights == pytest.approx(14.5e9, rel=0.01)


def test_every_knob_saves_memory() -> None:
    recipe = parse(
        "base: x\ndata: [{corpus: x}]\ntrain: {batch: 8}\nlora: {r: 64}\nmax_length: 4096\n", "x.yaml"
    )
    from clinical.finetune.memory import changes

    sizes = [estimate(change.recipe, MISTRAL_7B, "cuda").peak for change in changes(recipe)]
    assert sizes == sorted(sizes, reverse=True)
    assert estimate(recipe, MISTRAL_7B, "cuda").peak > sizes[0]


def test_the_knobs_that_make_it_fit() -> None:
    recipe = load("suite-mistral-7b-qlora", ["train.checkpointing=false"])
    turned = that_fits(recipe, MISTRAL_7B, "cuda", 16e9)
    assert turned[0].settings == "train.checkpointing=true"
    assert estimate(turned[-1].recipe, MISTRAL_7B, "cuda").needed <= 16e9
    assert that_fits(recipe, MISTRAL_7B, "cuda", 2e9) == []


def test_checkpointing_costs_the_forward_pass_once_more() -> None:
    recipe = load("suite-mistral-7b-qlora")
    without = load("suite-mistral-7b-qlora", ["train.checkpointing=false"])
    assert flops(recipe, MISTRAL_7B, 1000, "cuda") == pytest.approx(
        1.5 * flops(without, MISTRAL_7B, 1000, "cuda")
    )
