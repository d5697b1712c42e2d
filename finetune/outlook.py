"""What a run will need and take, told before it begins: memory, time, and the knob to turn when it does not fit."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from clinical.finetune.memory import GPU_FLOPS, Estimate, Shape, estimate, seconds, that_fits
from clinical.finetune.preflight import Report
from clinical.finetune.preparation import Prepared
from clinical.finetune.recipe import Recipe
from clinical.finetune.report import duration

BIG_ON_CPU = 1_000_000_000
"""Models of more weights than this are not trained on a CPU unless that is insisted on."""


@dataclass(frozen=True)
class Device:
    """Where the training will run. `speed` is in operations a second of large matrix products."""

    kind: str
    name: str
    free: float
    speed: float


def this_device() -> Device:
    """Return the GPU of this machine, else its processor, with its free memory and measured speed."""
    import torch

    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name(0)
        speed = next((speed for word, speed in GPU_FLOPS.items() if word in name), None)
        return Device("cuda", name, float(free), speed or _measured("cuda", torch.bfloat16, 4096))
    return Device("cpu", "no GPU", free_memory(), _measured("cpu", torch.float32, 768))


def _measured(device: str, dtype: object, size: int) -> float:
    import torch

    left = torch.randn(size, size, device=device).to(dtype)  # type: ignore[call-overload]
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        (left @ left).sum().item()
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best


def free_memory() -> float:
    """Return the bytes of memory that are free for programs."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return 1024.0 * int(line.split()[1])
    except OSError:
        pass
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


@dataclass(frozen=True)
class Outlook:
    """What is to be expected. `refusal` says why it should not begin, and what to do; empty when it may."""

    lines: tuple[str, ...]
    refusal: str = ""


def outlook(recipe: Recipe, shape: Shape, prepared: Prepared, report: Report, device: Device) -> Outlook:
    """Return memory and time of a run on a device, as lines, and whether it fits."""
    longest = report.lengths[-1] if report.lengths else recipe.max_length
    big = shape.in_layers + shape.others > BIG_ON_CPU
    needed = estimate(recipe, shape, device.kind, longest)
    steps = prepared.steps(recipe)
    tokens = round(report.tokens * min(1.0, steps * recipe.rows_per_step / max(1, len(prepared.order))))
    takes = seconds(recipe, shape, tokens, device.kind, device.speed)
    lines = [
        f"model    {_count(shape.in_layers + shape.others)} weights; trained: {_count(_trained(recipe, shape))}",
        f"steps    {steps:,} of {recipe.rows_per_step} rows, {_count(tokens)} tokens",
        f"memory   {_parts(needed)}",
        f"device   {device.name}, {_gb(device.free)} free",
        f"time     about {duration(takes)}",
    ]
    if device.kind == "cpu" and big:
        there = estimate(recipe, shape, "cuda", longest)
        lines[2:5] = [
            f"memory   {_parts(there)}, on a GPU",
            f"device   {device.name}, {_gb(device.free)} free",
        ]
        return Outlook(
            tuple(lines),
            f"a model of {_count(shape.in_layers + shape.others)} weights on a CPU would take {duration(takes)} and "
            f"{_gb(needed.needed)} of memory: train it on a GPU with {_gb(1.1 * there.needed)}, "
            "or rehearse with --dry-run",
        )
    if needed.needed <= device.free:
        return Outlook(tuple(lines))
    turned = that_fits(recipe, shape, device.kind, device.free, longest)
    if not turned:
        return Outlook(
            tuple(lines), f"it needs {_gb(needed.needed)} and no setting brings it to {_gb(device.free)}"
        )
    knobs = " ".join(f"--set {change.settings}" for change in turned)
    costs = "; ".join(change.cost for change in turned)
    fits = estimate(turned[-1].recipe, shape, device.kind, longest)
    return Outlook(
        tuple(lines),
        f"it needs {_gb(needed.needed)}, {_gb(device.free)} are free; {_gb(fits.needed)} with {knobs} ({costs})",
    )


def _trained(recipe: Recipe, shape: Shape) -> int:
    if recipe.method == "full":
        return shape.in_layers + shape.others
    return shape.adapter(recipe.lora.r, recipe.lora.targets)


def _parts(needed: Estimate) -> str:
    named = {
        "weights": needed.weights,
        "adapter": needed.adapter,
        "gradients": needed.gradients,
        "optimizer": needed.optimizer,
        "activations": needed.activations,
        "work": needed.working,
        "GPU context": needed.needed - needed.peak,
    }
    parts = ", ".join(f"{name} {_gb(size)}" for name, size in named.items() if size >= 5e6)
    return f"{_gb(needed.needed)}: {parts}"


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e9:.2f} GB"


def _count(number: float) -> str:
    for size, name in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.1f}{name}"
    return f"{number:.0f}"
