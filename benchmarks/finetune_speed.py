"""Tokens a second and peak memory of the training driver beside plain TRL, in one run, with the estimate.

    python benchmarks/finetune_speed.py                                  # the small shape, any machine, a minute
    python benchmarks/finetune_speed.py --recipe suite-mistral-7b-qlora  # on a GPU: the 7B shape of a recipe
    python benchmarks/finetune_speed.py --recipe 7b --write benchmarks/finetune_gpu.jsonl    # all of them, one by one

Without a GPU a recipe is measured with the small shape and short rows: its method and optimizer, not its size.

The weights are random and never leave memory: what is measured is the shape. Both sides get the same model, the same
rows (random ids of the recipe's longest length), and the same settings; plain TRL is `SFTTrainer` as its documentation
has it, without our trainer's scores, records and order of rows. On a GPU each recipe takes some minutes, and needs
nothing beside torch, transformers, peft, trl, datasets and bitsandbytes. Prints a table, and a line of JSON for each
recipe, which `--write` appends to a file.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
SMALL = {
    "model_type": "mistral", "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 1280, "vocab_size": 8192,
    "max_position_embeddings": 2048,
}  # fmt: skip


Figures = dict[str, Any]
LENGTH_ON_CPU = 256


def random_model(config: dict[str, Any], recipe: Any, cuda: bool) -> Any:
    """Return a model of this shape with random weights, in 4 bits where the recipe has it so."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    known = {key: value for key, value in config.items() if key != "model_type"}
    shape = AutoConfig.for_model(config["model_type"], **known)
    if hasattr(shape, "sliding_window") and config.get("sliding_window") is None:
        shape.sliding_window = None
    torch.manual_seed(0)
    number = torch.bfloat16 if cuda else torch.float32
    device = "cuda" if cuda else "cpu"
    if recipe.method != "qlora":
        with torch.device(device):
            return AutoModelForCausalLM.from_config(shape, dtype=number)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shape, dtype=number)
    return _four_bit(model, number, device)


def _four_bit(model: Any, number: Any, device: str) -> Any:
    """Fill a model without storage layer by layer with random weights, those of its layers in NF4."""
    import bitsandbytes as bnb
    import torch

    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name:
            weight = torch.randn(module.out_features, module.in_features, dtype=number, device=device) * 0.02
            layer = bnb.nn.Linear4bit(
                module.in_features, module.out_features, bias=False, compute_dtype=number, quant_type="nf4",
                compress_statistics=True,
            )  # fmt: skip
            layer.weight = bnb.nn.Params4bit(
                weight.cpu() if device == "cpu" else weight,
                requires_grad=False,
                quant_type="nf4",
                compress_statistics=True,
            )
            layer = layer.to(device)
            layer.support_avx512bf16_for_cpu = False
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], layer)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.device.type != "meta":
            continue
        parent, last = model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
        filled = torch.randn(tensor.shape, dtype=number, device=device) * 0.02
        if last in parent._parameters:
            parent._parameters[last] = torch.nn.Parameter(filled, requires_grad=False)
    # Positions are computed, not learned: made anew where they had no storage.
    rotary = model.model.rotary_emb
    with torch.device(device):
        model.model.rotary_emb = type(rotary)(model.config)
    model.is_loaded_in_4bit = model.is_quantized = True
    from transformers import BitsAndBytesConfig
    from transformers.quantizers.auto import AutoHfQuantizer
    from transformers.utils.quantization_config import QuantizationMethod

    # What `from_pretrained` leaves on a model, and the trainer asks for.
    quantized = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=number
    )
    model.config.quantization_config = quantized
    model.hf_quantizer = AutoHfQuantizer.from_config(quantized, pre_quantized=False)
    model.quantization_method = QuantizationMethod.BITS_AND_BYTES
    return model


def rows_of(recipe: Any, vocab: int, steps: int, length: int) -> list[dict[str, list[int]]]:
    """Return rows of random ids, the second half of each learned."""
    import random

    choose = random.Random(0)
    rows = []
    for _ in range(steps * recipe.rows_per_step):
        ids = [choose.randrange(3, vocab) for _ in range(length)]
        rows.append({"input_ids": ids, "labels": [-100] * (length // 2) + ids[length // 2 :]})
    return rows


def run_one(side: str, name: str, length: int, steps: int) -> Figures:
    """Train a few steps on one side and return its figures."""
    import torch
    from datasets import Dataset

    from clinical.finetune import training
    from clinical.finetune.memory import Shape, estimate
    from clinical.finetune.preparation import Prepared
    from clinical.finetune.rows import TrainingRow
    from clinical.finetune.run_folder import RunFolder
    from clinical.models.chat import V3

    cuda = torch.cuda.is_available()
    recipe, config = settings(name, length)
    import trl.trainer.sft_trainer  # noqa: F401  what the libraries take is not counted

    before = rss()
    rows = rows_of(recipe, config["vocab_size"], steps, length)
    tokenizer = small_tokenizer()
    with tempfile.TemporaryDirectory() as folder, training._quiet():
        learned = [TrainingRow(row["input_ids"], ((length // 2, length),), "chat", "random") for row in rows]
        order = list(range(len(rows)))
        prepared = Prepared(rows=learned, order=order, rows_of_a_pass=len(order), dev=learned[:1])
        run = training.Run(
            recipe, RunFolder(Path(folder)), Path(folder), tokenizer, V3, prepared, lambda record: None
        )
        if side == "clinical":
            training._network = lambda run: random_model(config, recipe, cuda)  # type: ignore[assignment]
            trainer = training.make_trainer(run)
        else:
            from trl.trainer.sft_trainer import SFTTrainer

            arguments = training.arguments(run, len(rows))
            trainer = SFTTrainer(
                model=random_model(config, recipe, cuda),
                args=arguments,
                train_dataset=Dataset.from_list(rows),
                eval_dataset=Dataset.from_list(rows[:1]),
                processing_class=tokenizer,
                peft_config=training._adapter(recipe),
            )
        trainer.args.eval_strategy = trainer.args.save_strategy = "no"
        trainer.args.logging_steps = 10_000
        seconds: list[float] = []
        trainer.add_callback(_clock(seconds))
        trainer.train()
        steady = seconds[len(seconds) // 3 :]
        peak = torch.cuda.max_memory_allocated() if cuda else None
    found = estimate(recipe, Shape.of(config), "cuda" if cuda else "cpu", length)
    del trainer
    gc.collect()
    return {
        "side": side,
        "tokens_per_second": round(recipe.rows_per_step * length * len(steady) / sum(steady), 1),
        "peak_gb": round((peak if peak is not None else rss() - before) / 1e9, 3),
        "estimate_gb": round(found.peak / 1e9, 3),
        "steps": len(seconds),
    }


def _clock(seconds: list[float]) -> Any:
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """Times each step."""

        began = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.began = clock()

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds.append(clock() - self.began)

    return Clock()


def clock() -> float:
    """Return the time: on a CPU that of this process, which other work on the machine does not stretch."""
    import torch

    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def rss() -> float:
    """Return the most memory that this process has had, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def small_tokenizer() -> Any:
    """Return a tokenizer: both trainers want one, though the rows are ids already."""
    from clinical.finetune.tokenizer import train_tokenizer

    return train_tokenizer(["No fever."] * 3, ["Disease"], 300)


def settings(name: str, length: int) -> tuple[Any, dict[str, Any]]:
    """Return the recipe to measure and the shape of its base, of which without a GPU only the kind remains."""
    import torch

    from clinical.finetune.dry_run import config_of
    from clinical.finetune.recipe import load, parse

    if name == "small":
        text = (
            "base: small\ndata: [{corpus: random}]\nmethod: lora\nlora: {r: 16, alpha: 32}\n"
            f"max_length: {length}\ntrain: {{batch: 4, accumulation: 1, log_every: 1000}}\n"
        )
        return parse(text, "small.yaml"), SMALL
    recipe, config = load(name), config_of(load(name).base)
    if not torch.cuda.is_available():
        config = {**SMALL, "model_type": config["model_type"]}
    # No row may be dropped and nothing grouped: all are of one length.
    return replace(recipe, max_length=length, train=replace(recipe.train, loss="answers")), config


def main() -> None:
    """Measure both sides of each recipe, each in a process of its own, in turns."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recipe", default="small", help="a packaged recipe, `7b` for all that train a 7B, or `small`"
    )
    parser.add_argument(
        "--length",
        type=int,
        help=f"tokens in a row (default: {LENGTH_ON_CPU} on a CPU, the recipe's on a GPU)",
    )
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2, help="how often each side is measured")
    parser.add_argument("--write", type=Path, metavar="FILE", help="append the figures to this file")
    parser.add_argument("--side", choices=["clinical", "trl"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print("FIGURES " + json.dumps(run_one(given.side, given.recipe, given.length, given.steps)))
        return
    from clinical.finetune.recipe import available

    names = [name for name in available() if "7b" in name] if given.recipe == "7b" else [given.recipe]
    rows = [
        (name, compared(name, given.length or longest(name), given.steps, given.rounds)) for name in names
    ]
    print_table(rows)
    for name, figures in rows:
        line = json.dumps({"recipe": name, "device": device(), "figures": figures})
        print(line)
        if given.write:
            with given.write.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def longest(name: str) -> int:
    """Return how long the rows are: on a GPU as the recipe allows."""
    import torch

    from clinical.finetune.recipe import load

    return load(name).max_length if torch.cuda.is_available() and name != "small" else LENGTH_ON_CPU


def compared(name: str, length: int, steps: int, rounds: int) -> list[Figures]:
    """Return the figures of both sides, measured in turns."""
    figures: list[Figures] = []
    for _ in range(rounds):
        for side in ("clinical", "trl"):
            own = ["--side", side, "--recipe", name, "--length", str(length), "--steps", str(steps)]
            done = subprocess.run(
                [sys.executable, __file__, *own], capture_output=True, text=True, check=False
            )
            line = next((row for row in done.stdout.splitlines() if row.startswith("FIGURES ")), None)
            if line is None:
                sys.exit(f"{name}, {side}:\n{done.stderr[-2000:]}")
            figures.append({**json.loads(line.removeprefix("FIGURES ")), "length": length})
    return figures


def device() -> str:
    """Return what it runs on."""
    import torch

    return (
        torch.cuda.get_device_name(0)
        if torch.cuda.is_available()
        else f"{torch.get_num_threads()} CPU threads"
    )


def print_table(rows: Sequence[tuple[str, Sequence[Figures]]]) -> None:
    """Print a row for each side of each recipe; `estimate / peak` is to lie between 0.9 and 1.1 on a GPU."""
    import torch

    unit = "tokens/s" if torch.cuda.is_available() else "tokens per CPU second"
    print(f"{device()}\n\n| recipe | rows of | side | {unit} | peak GB | estimate GB | estimate / peak |")
    print("|---|---:|---|---:|---:|---:|---:|")
    for name, figures in rows:
        for side in ("clinical", "trl"):
            mine = [figure for figure in figures if figure["side"] == side]
            best = max(figure["tokens_per_second"] for figure in mine)
            peak, guess, length = (mine[0][key] for key in ("peak_gb", "estimate_gb", "length"))
            print(
                f"| {name} | {length} | {side} | {best:,.0f} | {peak:.2f} | {guess:.2f} | {guess / peak:.2f} |"
            )


if __name__ == "__main__":
    main()
