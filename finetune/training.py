"""The training driver: TRL's `SFTTrainer` with rows, scores, checkpoints and records of ours.

    from clinical.finetune.recipe import load
    from clinical.finetune.training import train

    folder = train(load("mini-ner"), Path("out/mini-ner"))

What comes back is the folder of an adapter that `clinical ner|search|ask|summarize --model BASE --adapter DIR` takes.

What TRL is not left to do: it would cut and drop rows silently, send telemetry, keep the last instead of the best
adapter, and take bf16 and checkpointing on a CPU, where both only cost. Rows come tokenized and labelled, in the order
in which they are read, so that a run that was killed goes on exactly where it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical.errors import ClinicalError, UsageError
from clinical.finetune import preflight
from clinical.finetune.evaluation import Result, evaluate
from clinical.finetune.examples import PROMPTS, known_labels
from clinical.finetune.memory import compute_bytes
from clinical.finetune.preparation import Prepared, prepare
from clinical.finetune.provenance import history, provenance, write_history
from clinical.finetune.recipe import Recipe
from clinical.finetune.rows import IGNORED, chat_format
from clinical.finetune.run_folder import RunFolder, write
from clinical.finetune.start import starting_adapter
from clinical.models.chat import ChatFormat
from clinical.models.fingerprint import file_sha256, fingerprint, tokenizer_sha256
from clinical.models.mistral import (
    LocalMistral,
    find_model,
    hush_libraries,
    load_network,
    load_tokenizer,
    quiet_peft,
    read_card,
)
from clinical.prompts import templates

if TYPE_CHECKING:
    import torch

Watch = Callable[[dict[str, Any]], None]
"""Told of every record as it is made: a step (`loss`, `tokens_per_second` …), or an evaluation (`eval_loss` …)."""


@dataclass
class Run:
    """One training run, put together: what `train` goes through."""

    recipe: Recipe
    folder: RunFolder
    base: Path
    tokenizer: Any
    chat: ChatFormat
    prepared: Prepared
    watch: Watch
    start: Path | None = None
    began: float = field(default_factory=time.monotonic)
    tokens: int = 0
    seconds_before: float = 0.0
    last: tuple[float, int] = (0.0, 0)
    scores: list[tuple[int, float]] = field(default_factory=list)

    @cached_property
    def labels(self) -> list[str]:
        """The labels of `ner` that are trained, in the order in which they are asked for in use."""
        return known_labels(self.recipe)

    @property
    def devices(self) -> int:
        """How many processes train together."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return os.environ.get("RANK", "0") == "0"

    @property
    def steps(self) -> int:
        """How many steps the run has."""
        return self.prepared.steps(self.recipe, self.devices)

    def seconds(self) -> float:
        """Return the seconds spent so far, those before an interruption too."""
        return self.seconds_before + time.monotonic() - self.began

    def mark(self) -> None:
        """Begin to count anew for the speed: what an evaluation takes is not training."""
        self.last = (self.seconds(), self.tokens)

    def record(self, record: dict[str, Any]) -> None:
        """Write a record down and tell the watcher."""
        if self.is_first:
            self.folder.record(record)
            self.watch(record)


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    watch: Watch | None = None,
    prepared: Prepared | None = None,
) -> Path:
    """Train by a recipe and return the folder of the adapter (or of the model, with `method: full`).

    `watch` is told of every record as it is made; `prepared` saves reading the data once more.
    Raises `UsageError` when base, data or folder are not as they must be, before any weight is read; and
    `KeyboardInterrupt` with what to type when Ctrl-C ended it, after the state was saved.
    """
    require_trl()
    base = find_model(recipe.base)
    hush_libraries()
    tokenizer = load_tokenizer(base)
    chat = chat_format(tokenizer, recipe.chat)
    start = starting_adapter(recipe, base)
    prepared = prepared or prepare(recipe, tokenizer, chat)
    preflight.look(recipe, prepared, tokenizer, chat).check()
    told = watch or (lambda record: None)
    run = Run(recipe, RunFolder(out), base, tokenizer, chat, prepared, told, start)
    if run.is_first:
        run.folder.begin(recipe, resume=resume)
        _describe(run)
    with _quiet():
        return _train(run, resume=resume)


def require_trl() -> None:
    """Raise `UsageError` that says what to type when the extra for training is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("trl", "datasets") if find_spec(name) is None]
    if missing:
        raise UsageError(f"training needs {' and '.join(missing)}: pip install 'clinical[train]'")
    # Read when the libraries are imported. TRL reports each run to the hub otherwise.
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")


def _train(run: Run, *, resume: bool) -> Path:
    checkpoint = run.folder.last_checkpoint() if resume else None
    if checkpoint:
        before = run.folder.rewind(int(checkpoint.name.split("-")[1]), keep=run.is_first)
        run.scores = [(record["step"], record["score"]) for record in before if "score" in record]
        run.tokens = next((record["tokens"] for record in reversed(before) if "tokens" in record), 0)
        run.seconds_before = next((record["seconds"] for record in reversed(before)), 0.0)
    elif resume:
        run.folder.rewind(-1, keep=run.is_first)
    trainer = make_trainer(run)
    stop = _Stop()
    trainer.add_callback(_callback(run, stop))
    if not checkpoint and run.devices == 1:
        trainer.evaluate()
    with stop.on_interrupt():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    step = int(trainer.state.global_step)
    if stop.asked:
        raise KeyboardInterrupt(
            f"Stopped at step {step} of {run.steps} and saved in {run.folder.path}. "
            "Go on with the same command and --resume."
        )
    if step not in [scored for scored, _ in run.scores]:
        trainer.evaluate()
    _finish(run, trainer)
    return run.folder.path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what libraries warn of and no user can act on."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    with quiet_peft(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", category=FutureWarning, module=r"(trl|transformers|peft|accelerate)\."
        )
        warnings.filterwarnings("ignore", ".*pin_memory.*")
        warnings.filterwarnings("ignore", "Paged optimizers are not supported on CPU")
        try:
            yield
        finally:
            logging.set_verbosity(before)


def make_trainer(run: Run) -> Any:
    """Return the trainer of a run: TRL's, with our rows, scores and records."""
    import torch
    from datasets import Dataset  # type: ignore[import-untyped]
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    recipe = run.recipe
    dataset = Dataset.from_list(
        [
            {
                "input_ids": row.ids,
                "labels": row.labels,
                "options": row.options,
                "learned": list(row.learned[-1]),
            }
            for row in run.prepared.rows
        ]
    )
    dev = run.prepared.dev[: recipe.evaluate.rows] or run.prepared.rows[:1]
    held_out = Dataset.from_list([{"input_ids": row.ids, "labels": row.labels} for row in dev])
    if recipe.train.loss != "decisions":
        dataset = dataset.remove_columns(["options", "learned"])
    if recipe.packing:
        from datasets import disable_progress_bars
        from trl.data_utils import pack_dataset

        disable_progress_bars()
        dataset = pack_dataset(dataset.select(run.prepared.order), recipe.max_length, "bfd", {})
    else:
        dataset = dataset.select(run.prepared.order)
    if run.tokenizer.pad_token_id is None:
        run.tokenizer.pad_token = run.tokenizer.eos_token
    trainer = trainer_class()(
        run=run,
        model=_network(run),
        args=arguments(run, len(dataset)),
        train_dataset=dataset,
        eval_dataset=held_out,
        processing_class=run.tokenizer,
        peft_config=None if run.start else _adapter(recipe),
        **(
            {"data_collator": _collate(run.tokenizer.pad_token_id)}
            if recipe.train.loss == "decisions"
            else {}
        ),
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    if not torch.cuda.is_available():
        # TRL makes adapters on 4-bit weights bf16; on a CPU all else is fp32, and so are they.
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return trainer


def _network(run: Run) -> Any:
    """Return what is trained: the base, with the adapter that the run goes on from, if it does."""
    import torch

    many = run.devices > 1 and torch.cuda.is_available()
    network = _network_of_many(run) if many else _network_of_one(run)
    if run.start is None:
        return network
    from peft import PeftModel

    return PeftModel.from_pretrained(network, run.start, is_trainable=True, local_files_only=True)


def _network_of_one(run: Run) -> Any:
    import torch

    network = load_network(run.base, four_bit=run.recipe.method == "qlora")
    if (
        compute_bytes(run.recipe, "cuda" if torch.cuda.is_available() else "cpu") == 4
        and run.recipe.method != "qlora"
    ):
        network = network.float()
    return network


def _network_of_many(run: Run) -> Any:
    """Return the weights for one of several GPUs: on it as a whole, or to be shared out by FSDP."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    number = torch.bfloat16 if compute_bytes(run.recipe, "cuda") == 2 else torch.float32
    options: dict[str, Any] = {"dtype": number}
    if run.recipe.method == "qlora":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=number,
            # FSDP shards what looks like ordinary numbers.
            bnb_4bit_quant_storage=number,
        )
    place = None if is_sharded() else {"": int(os.environ.get("LOCAL_RANK", "0"))}
    return AutoModelForCausalLM.from_pretrained(
        run.base,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        device_map=place,
        **options,
    )


def is_sharded() -> bool:
    """Return whether accelerate shares the weights out among several GPUs."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")


def _adapter(recipe: Recipe) -> Any:
    if recipe.method == "full":
        return None
    from peft import LoraConfig

    named = recipe.lora.targets
    return LoraConfig(
        r=recipe.lora.r,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules="all-linear" if "all-linear" in named else list(named),
        task_type="CAUSAL_LM",
    )


def arguments(run: Run, rows: int) -> Any:
    """Return TRL's configuration for a recipe."""
    import torch
    from trl.trainer.sft_config import SFTConfig

    recipe, settings = run.recipe, run.recipe.train
    cuda = torch.cuda.is_available()
    steps = max(1, -(-rows // (recipe.rows_per_step * run.devices)))
    steps = min(steps, settings.max_steps or steps)
    evaluate_every = recipe.evaluate.every or run.prepared.steps_of_a_pass(recipe, run.devices)
    save_every = recipe.save.every or evaluate_every
    return SFTConfig(
        output_dir=str(run.folder.checkpoints),
        max_steps=steps,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=round(settings.warmup * steps),
        optim=settings.optimizer,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        gradient_checkpointing=settings.checkpointing and cuda,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        bf16=cuda and compute_bytes(recipe, "cuda") == 2,
        use_cpu=not cuda,
        # Rows are cut, counted and ordered before: TRL is to take them as they are.
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=recipe.max_length if recipe.packing else None,
        packing=recipe.packing,
        eval_packing=False,
        train_sampling_strategy="sequential",
        logging_steps=settings.log_every,
        logging_first_step=True,
        eval_strategy="steps",
        eval_steps=min(evaluate_every, steps),
        save_strategy="steps",
        save_steps=min(save_every, steps),
        save_total_limit=recipe.save.keep,
        seed=settings.seed,
        data_seed=settings.seed,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=settings.loss != "decisions",
    )


def trainer_class() -> type[Any]:
    """Return the trainer: a function, because importing TRL takes seconds."""
    from trl.trainer.sft_trainer import SFTTrainer

    class Trainer(SFTTrainer):
        """TRL's trainer; what it adds is scores, the best adapter, and counting tokens."""

        def __init__(self, run: Run, **options: Any) -> None:
            self.run = run
            self.best_score = run.folder.best_score()
            parent: Any = super()
            parent.__init__(**options)
            if run.recipe.train.loss == "decisions":
                # TRL's own loss is a sum over the tokens of all batches of a step; this one is a mean of its batch.
                setattr(self, "loss_is_scaled_for_ga", False)  # noqa: B010

        def _send_telemetry(self) -> None:
            """Nothing leaves the machine."""

        def create_model_card(self, *arguments: Any, **options: Any) -> None:
            """The run folder has a report of its own."""

        def training_step(self, model: Any, inputs: dict[str, Any], *more: Any) -> Any:
            """Count the tokens of the batch, without padding."""
            seen = inputs.get("attention_mask")
            self.run.tokens += int(inputs["input_ids"].numel() if seen is None else seen.sum())
            parent: Any = super()
            return parent.training_step(model, inputs, *more)

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: Any = False, num_items_in_batch: Any = None
        ) -> Any:
            """Return the loss: that of decisions where the batch has options."""
            if "options" in inputs:
                return decision_loss(model, inputs, self.run.recipe.train.copy_weight)
            parent: Any = super()
            return parent.compute_loss(model, inputs, return_outputs, num_items_in_batch)

        def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
            """Return the loss and the scores of the tasks on what is held out; keep the adapter if it is the best."""
            parent: Any = super()
            metrics: dict[str, float] = parent.evaluate(*arguments, **options)
            result = self._scores()
            record = {
                "step": int(self.state.global_step),
                "seconds": round(self.run.seconds(), 2),
                "eval_loss": round(metrics["eval_loss"], 6),
                **{name: round(value, 4) for name, value in result.scores.items()},
            }
            score = result.overall if result.overall is not None else -metrics["eval_loss"]
            record["score"] = round(score, 6)
            self.run.scores.append((int(self.state.global_step), round(score, 6)))
            self.run.record(record)
            if self.state.global_step:
                self._keep_best(score, metrics["eval_loss"])
            self.run.mark()
            return metrics

        def _scores(self) -> Result:
            if is_sharded():
                return Result({})
            network = self.accelerator.unwrap_model(self.model)
            was_training = network.training
            network.eval()
            model = LocalMistral("in training", network, self.run.tokenizer, self.run.chat)
            try:
                return evaluate(model, self.run.recipe, self.run.prepared, self.run.labels)
            finally:
                network.train(was_training)

        def _keep_best(self, score: float, loss: float) -> None:
            """Keep the adapter when it is better than all before it; an evaluation that is repeated changes nothing."""
            if (score, -loss) <= self.best_score:
                return
            self.best_score = (score, -loss)
            best = self.run.folder.best
            partial = best.with_name("best.partial")
            if self.run.is_first:
                shutil.rmtree(partial, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            self.save_model(str(partial))
            if self.run.is_first:
                write(
                    partial / "best.json",
                    json.dumps({"step": int(self.state.global_step), "score": score, "loss": loss}),
                )
                shutil.rmtree(best, ignore_errors=True)
                partial.rename(best)

    return Trainer


def decision_loss(model: Any, inputs: dict[str, Any], copy_weight: float) -> torch.Tensor:
    """Return the mean loss of the decisions of constrained decoding, plus that of all answer tokens, weighted.

    A decision is a place where the constraint allows more than one token: its loss is that of the right one among
    those, and not among the whole vocabulary.
    """
    import torch
    from torch.nn.functional import cross_entropy

    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = causal.get_decoder()(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
    ).last_hidden_state
    row, column = torch.nonzero(inputs["labels"] != IGNORED, as_tuple=True)
    target = inputs["labels"][row, column]
    logits = causal.get_output_embeddings()(hidden[row, column - 1]).float()
    table = inputs["options"][row, column]
    decisions = (table >= 0).sum(1) > 1
    scores = logits.gather(1, table.clamp(min=0)).masked_fill(table < 0, float("-inf"))
    right = (table == target[:, None]).int().argmax(1)
    everything = cross_entropy(logits, target)
    if not bool(decisions.any()):
        return copy_weight * everything
    return cross_entropy(scores[decisions], right[decisions]) + copy_weight * everything


def _collate(pad: int) -> Callable[[Sequence[dict[str, Any]]], dict[str, torch.Tensor]]:
    """Return the function that makes a batch of rows with options: at each place the allowed tokens, then -1."""

    def batch(rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        import torch

        width = max(len(row["input_ids"]) for row in rows)

        def padded(name: str, value: int) -> torch.Tensor:
            return torch.tensor([row[name] + [value] * (width - len(row[name])) for row in rows])

        out = {"input_ids": padded("input_ids", pad), "labels": padded("labels", IGNORED)}
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        out["attention_mask"] = (torch.arange(width) < lengths[:, None]).long()
        if "options" not in rows[0]:
            return out
        most = max((len(allowed) for row in rows for allowed in row["options"]), default=1)
        table = torch.full((len(rows), width, most), -1)
        for number, row in enumerate(rows):
            for place, allowed in enumerate(row["options"], row["learned"][0]):
                table[number, place, : len(allowed)] = torch.tensor(allowed)
        out["options"] = table
        return out

    return batch


class _Stop:
    """Whether Ctrl-C was pressed. The first ends the run after the step, saved; the second ends it at once."""

    def __init__(self) -> None:
        self.asked = False

    @contextlib.contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Listen while this lasts; only the main thread of a program can."""

        def ask(number: int, frame: object) -> None:
            self.asked = True
            print("\nSaving after this step; once more Ctrl-C ends it at once.", file=sys.stderr, flush=True)
            signal.signal(signal.SIGINT, before)

        try:
            before = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, ask)
        except ValueError:
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _callback(run: Run, stop: _Stop) -> Any:
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        """Records steps, and ends the run when it is asked to or learns no more."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            run.mark()

        def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            logs = more["logs"]
            if "loss" not in logs:
                return
            seconds, tokens = run.seconds(), run.tokens
            run.record(
                {
                    "step": int(state.global_step),
                    "steps": int(state.max_steps),
                    "seconds": round(seconds, 2),
                    "loss": round(logs["loss"], 6),
                    "learning_rate": logs.get("learning_rate", 0.0),
                    "grad_norm": round(float(logs.get("grad_norm", 0.0)), 4),
                    "tokens": tokens,
                    "tokens_per_second": round((tokens - run.last[1]) / max(seconds - run.last[0], 1e-9), 1),
                    "memory_mb": round(memory_mb(), 1),
                }
            )
            run.mark()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if stop.asked:
                control.should_save = control.should_training_stop = True
            elif run.recipe.evaluate.patience and not control.should_evaluate:
                control.should_training_stop = control.should_training_stop or _learns_no_more(run)

    return Callback()


def _learns_no_more(run: Run) -> bool:
    scores = [score for step, score in run.scores if step]
    best = scores.index(max(scores)) if scores else 0
    return len(scores) - 1 - best >= run.recipe.evaluate.patience


def memory_mb() -> float:
    """Return the most memory used so far in MB: of the GPU where there is one, else of the process."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def _describe(run: Run) -> None:
    """Write down what the run is made of."""
    from importlib import metadata

    prepared = run.prepared
    began = provenance()
    names = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "tokenizers", "bitsandbytes")
    known = {dist: metadata.version(dist) for dist in names if _is_installed(dist)}
    described = {
        **began,
        "versions": {**known, "clinical": metadata.version("clinical"), "python": sys.version.split()[0]},
        "base_fingerprint": fingerprint(run.base),
        "tokenizer_sha256": tokenizer_sha256(run.base),
        "chat": run.chat.name,
        "rows": len(prepared.rows),
        "rows_of_a_pass": prepared.rows_of_a_pass,
        "held_out": len(prepared.dev),
        "tokens": sum(len(prepared.rows[number].ids) for number in prepared.order),
        "steps": run.steps,
        "truncated": len(prepared.long),
        "dropped": prepared.dropped,
        "passed_over": dict(prepared.passed_over),
        "data": {
            f"{path.parent.name}/{path.name}": file_sha256(path) for path in prepared.files if path.is_file()
        },
    }
    write(run.folder.path / "run.json", json.dumps(described, indent=1) + "\n")


def _is_installed(name: str) -> bool:
    from importlib import metadata

    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _finish(run: Run, trainer: Any) -> None:
    """Put the best adapter and its card into the run folder."""
    folder, recipe = run.folder, run.recipe
    if not run.is_first:
        return
    if not folder.best.is_dir():
        raise ClinicalError(f"{folder.path}: the run kept no adapter; resume it with --resume")
    for path in folder.best.iterdir():
        if path.name.startswith(("adapter_", "model", "config.json", "generation_config")):
            shutil.copyfile(path, folder.path / path.name)
    if recipe.method == "full":
        run.tokenizer.save_pretrained(folder.path)
    config = folder.path / "adapter_config.json"
    if config.is_file():
        # As typed, not where it lay on this machine; only the fingerprint tells one base from another.
        known = json.loads(config.read_text(encoding="utf-8"))
        write(
            config,
            json.dumps(
                {**known, "base_model_name_or_path": _portable(recipe.base)}, indent=1, sort_keys=True
            ),
        )
    write(folder.path / "clinical.json", json.dumps(card(run), indent=1) + "\n")
    if run.start and (before := history(run.start)):
        write_history(before, folder.path)
    from clinical.finetune.report import write_report

    write_report(folder.path)
    shutil.rmtree(folder.best)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)


def _portable(base: str) -> str:
    """Return a base as it is told to others: of a folder on this machine the last name alone."""
    return Path(base).name if Path(base).is_dir() else base


def card(run: Run) -> dict[str, Any]:
    """Return what `clinical.json` says of an adapter: what it was trained on, for what, and how well it does it."""
    recipe = run.recipe
    best = json.loads((run.folder.best / "best.json").read_text(encoding="utf-8"))
    scores = next(
        record
        for record in reversed(run.folder.records())
        if record["step"] == best["step"] and "score" in record
    )
    shown = ("step", "seconds", "score")
    before = read_card(run.start) if run.start else None
    prompts: dict[str, str] = dict(before.prompts) if before else {}
    prompts |= {task: recipe.prompt.get(task, PROMPTS[task]) for task in recipe.tasks if task in PROMPTS}
    prompts |= {
        f"summarize.{source.style}": recipe.prompt.get("summarize", f"summarize.{source.style}.v1")
        for source in recipe.data
        if source.task == "summarize"
    }
    ner = prompts.get("ner", "ner.v1")
    return {
        "prompt": ner,
        "prompt_sha256": templates.load(ner).sha256,
        "chunk_pieces": recipe.chunk_pieces,
        "labels": run.labels,
        "definitions": {name: recipe.labels[name] for name in run.labels if name in recipe.labels},
        "base": _portable(recipe.base),
        "base_fingerprint": fingerprint(run.base) if recipe.method != "full" else None,
        "tokenizer_sha256": tokenizer_sha256(run.base),
        "template": run.chat.name,
        "chat": run.chat.name,
        "tasks": list(recipe.tasks),
        "prompts": prompts,
        "prompts_sha256": {name: templates.load(prompt).sha256 for name, prompt in prompts.items()},
        "recipe": recipe.name,
        "method": recipe.method,
        "rank": recipe.lora.r if recipe.method != "full" else None,
        "dev_score": scores["score"],
        "dev_scores": {name: value for name, value in scores.items() if name not in shown},
        "dev_step": best["step"],
        "before_training": next((score for step, score in run.scores if step == 0), None),
        "dev": [source.name for source in recipe.dev] or f"{recipe.hold_out:g} of the data",
    }
