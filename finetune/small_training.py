"""Trains a small Mistral on a packed file, in pieces that end when their minutes do and go on where they ended.

    python -m clinical.finetune.small_training --data build/mini --out build/run --size 8x320 --minutes 8.5 --resume

The same line again goes on, until the run is complete.

Needs torch, numpy and safetensors, no more (transformers writes the model when the run is complete). Muon for the
matrices and AdamW for the rest (Jordan et al. 2024), constant rate and then linear decay, and the moving average of
the weights as the result. On a GPU it computes in bfloat16 and compiled. On a CPU, a run in pieces ends with the very
weights of a run in one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from clinical.finetune.exercises import Batch, batches
from clinical.finetune.packed import Packed
from clinical.finetune.provenance import history, provenance, write_history
from clinical.finetune.sizes import SIZES, Size, size_of
from clinical.finetune.small_adapter import CARD, rank_of, write_adapter
from clinical.finetune.small_plan import Plan, changed
from clinical.finetune.small_trainer import Trainer

CHECKPOINT = "checkpoint.pt"
EMBEDDING = "model.embed_tokens.weight"


def batches_of(
    data: Path, packed: Packed, plan: Plan, first: int, workers: int = 0
) -> Generator[Batch, None, None]:
    """Yield the batches of a run from step `first` on."""
    stages = plan.stages(packed.header["tasks"])
    steps = range(first, plan.steps)
    return batches(data / "data.safetensors", plan.batch_tokens, plan.seed, stages, steps, workers)


def train(
    trainer: Trainer,
    stream: Iterator[Batch],
    out: Path,
    minutes: float | None,
    until: int | None = None,
    save_every: float = 4.0,
) -> bool:
    """Train until the run is complete, or step `until` is done, or the minutes are over; return whether it is."""
    began = saved = time.monotonic()
    tokens = 0
    shown: dict[str, list[torch.Tensor]] = {}
    steps = trainer.plan.steps if until is None else min(until, trainer.plan.steps)
    for batch in stream:
        if trainer.step >= steps:
            break
        for name, loss in trainer.learn(batch).items():
            shown.setdefault(name, []).append(loss)
        tokens += batch.tokens
        now = time.monotonic()
        if trainer.step % 50 == 0 or trainer.step == trainer.plan.steps:
            _log(out, trainer, shown, tokens, now - began)
            shown = {}
        if minutes is not None and now - began > 60 * minutes:
            break
        if now - saved > 60 * save_every:
            trainer.save(out / CHECKPOINT)
            saved = now
    trainer.save(out / CHECKPOINT)
    return trainer.step >= trainer.plan.steps


def _log(
    out: Path, trainer: Trainer, shown: dict[str, list[torch.Tensor]], tokens: int, seconds: float
) -> None:
    line = {
        "step": trainer.step,
        "steps": trainer.plan.steps,
        "tokens_per_second": round(tokens / seconds),
        "seconds": round(seconds),
        "core_seconds": round(time.process_time()),
        "loss": {name: round(float(torch.stack(found).mean()), 4) for name, found in sorted(shown.items())},
    }
    with (out / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(line, flush=True)


def write_model(trainer: Trainer, data: Path, out: Path, steps: list[dict[str, Any]]) -> None:
    """Write the averaged weights as a model folder of `transformers`: half precision, in files of at most 15 MB.

    `steps` are the records of all training that led to them.
    """
    from transformers import MistralConfig, MistralForCausalLM

    model = MistralForCausalLM(MistralConfig(**trainer.size.config(trainer.packed.control)))
    model.load_state_dict({**trainer.averaged(), "lm_head.weight": trainer.averaged()[EMBEDDING]})
    model.half().save_pretrained(out, max_shard_size="15MB")
    for path in out.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files that only their owner can read
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (data / name).is_file():
            shutil.copy(data / name, out / name)
    card = {**CARD, "labels": list(trainer.packed.labels)}
    (out / "clinical.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    write_history(steps, out)


def main() -> None:
    """Read the command line and train."""
    parser = _parser()
    given = parser.parse_args()
    _check(parser, given)
    torch.set_num_threads(given.threads)
    torch.set_float32_matmul_precision("high")
    packed = Packed.open(given.data / "data.safetensors")
    trainer, started = _begun(parser, given, packed)
    plan = trainer.plan
    parameters = sum(p.numel() for p in trainer.network.parameters())
    print(f"{parameters} parameters, step {trainer.step} of {plan.steps}, on {trainer.device}", flush=True)
    stream = batches_of(given.data, packed, plan, trainer.step, given.workers)
    complete = train(trainer, stream, given.out, given.minutes, given.until)
    stream.close()
    made = _written(trainer, given, started)
    if given.send:
        send(made, given.send)
    print("complete" if complete else "not complete: the same call with --resume goes on", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of clinical.finetune.packing")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the run; OUT/model or OUT/adapter comes out"
    )
    parser.add_argument("--size", choices=SIZES, default="8x320", help="layers x width")
    parser.add_argument("--start", type=Path, help="a model folder to begin with, instead of nothing")
    parser.add_argument(
        "--adapter", type=Path, help="an adapter on it to go on from, in place of all weights"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other values of the plan")
    parser.add_argument("--tokens", type=float, help="tokens of the whole run")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes of training")
    parser.add_argument("--until", type=int, metavar="STEP", help="stop after this step of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in OUT, if there is one")
    parser.add_argument(
        "--send", type=Path, help="a folder to copy the files of the model to that must travel back"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--threads", type=int, default=1)
    return parser


def _check(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """End with one line when something that the call names is not there, or would be written over."""
    if not (given.data / "data.safetensors").is_file():
        parser.error(f"{given.data} has no data.safetensors; `clinical finetune pretrain prepare` makes it")
    if given.start and not (given.start / "model.safetensors").is_file():
        parser.error(f"{given.start} has no model.safetensors to begin with")
    if given.adapter and not (given.adapter / "adapter_model.safetensors").is_file():
        parser.error(f"{given.adapter} has no adapter_model.safetensors to go on from")
    if (given.out / CHECKPOINT).is_file() and not given.resume:
        parser.error(f"there is a run in {given.out}: --resume goes on with it, another --out begins anew")


def _begun(
    parser: argparse.ArgumentParser, given: argparse.Namespace, packed: Packed
) -> tuple[Trainer, dict[str, Any]]:
    """Return the trainer of the run in OUT as it was left, else of a new one, and how it was begun."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    checkpoint, described = given.out / CHECKPOINT, given.out / "run.json"
    if checkpoint.is_file():
        held = json.loads(described.read_text(encoding="utf-8"))
        plan, size, started = Plan(**held["plan"]), Size(**held["size"]), held["started"]
    else:
        plan, size, started = _planned(parser, given, packed), _size(given), provenance()
    if plan.adapter_rank and not given.start:
        parser.error("an adapter wants the model that it is trained on: --start")
    trainer = Trainer(plan, size, packed, device, given.compile, given.bf16)
    if checkpoint.is_file():
        trainer.load(checkpoint)
        return trainer, started
    if given.start:
        trainer.start_from(given.start)
    if given.adapter:
        trainer.go_on_from(given.adapter)
    given.out.mkdir(parents=True, exist_ok=True)
    written = {"plan": asdict(plan), "size": asdict(size), "started": started}
    described.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return trainer, started


def _planned(parser: argparse.ArgumentParser, given: argparse.Namespace, packed: Packed) -> Plan:
    try:
        plan = changed(Plan(), given.set, tuple(packed.layers))
    except ValueError as error:
        parser.error(str(error))
    if given.adapter:
        plan = replace(plan, adapter_rank=rank_of(given.adapter))
    return replace(plan, tokens=int(given.tokens)) if given.tokens else plan


def _size(given: argparse.Namespace) -> Size:
    if given.start:
        return size_of(json.loads((given.start / "config.json").read_text(encoding="utf-8")))
    return SIZES[given.size]


def _written(trainer: Trainer, given: argparse.Namespace, started: dict[str, Any]) -> Path:
    """Write what was trained, with how good it is and how it was made, and return its folder."""
    plan = trainer.plan
    bits = trainer.bits_per_byte()
    f1 = trainer.held_out_f1()
    print(f"step {trainer.step} of {plan.steps}: {bits:.4f} bits per byte of held-out text, {f1}", flush=True)
    record = {
        "step": "training",
        **started,
        "device": torch.cuda.get_device_name() if trainer.device == "cuda" else "cpu",
        "recipe": asdict(plan),
        "size": asdict(trainer.size),
        "corpora": [],
        "steps_done": trainer.step,
        "held_out_bits_per_byte": round(bits, 4),
        "held_out_f1": f1,
    }
    # What led to the start was packed from the same data, or from less.
    before = history(*([given.adapter or given.start] if given.start else []), given.data)
    made: Path = given.out / ("adapter" if plan.adapter_rank else "model")
    if plan.adapter_rank:
        write_adapter(trainer.averaged(), given.start, made, [*before, record])
    else:
        write_model(trainer, given.data, made, [*before, record])
    return made


def send(model: Path, folder: Path) -> None:
    """Copy what the release needs of a model: its weights, settings and history, not what came with the data."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(model.iterdir()):
        if ".safetensors" in path.name or path.name in ("config.json", "clinical.json", "history.json"):
            shutil.copy(path, folder / path.name)


if __name__ == "__main__":
    main()
