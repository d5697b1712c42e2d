"""The table of the README: system by corpus, strict F1, words per second in one thread, megabytes of weights.

    python benchmarks/ner_table.py                     # all of it
    python benchmarks/ner_table.py --systems light scispacy --limit 200

Every column is one call of `clinical evaluate`, printed under the table; the figures are taken from what it
says. The last line is the same as JSON. Words per second are by the clock; per CPU second is the speed on a
core of its own, where other work shares the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Column:
    """A gold standard, the annotation guidelines that `light` and `scispacy` follow on it, and further options."""

    gold: str
    light: str
    scispacy: str
    options: tuple[str, ...] = ()


COLUMNS = (
    Column("bc5cdr:test", "bc5cdr", "bc5cdr"),
    Column("ncbi_disease:dev", "ncbi_disease", "ncbi_disease"),
    Column("maccrobat:dev", "clinical", "clinical"),
    # E3C's clinical entities are diseases and symptoms alike.
    Column("e3c:dev", "notes", "clinical", ("--count-as", "Symptom=Disease")),
)


def main() -> None:
    """Measure, and print the table, the commands and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--systems", nargs="+", default=["light", "mistral", "scispacy"], metavar="SYSTEM[:MODEL]"
    )
    parser.add_argument("--limit", type=int, help="only the first N records of each corpus, to try it out")
    arguments = parser.parse_args()
    commands = {column.gold: command(column, arguments.systems, arguments.limit) for column in COLUMNS}
    results = {gold: evaluate(call) for gold, call in commands.items()}
    rows = [row(place, system, results) for place, system in enumerate(arguments.systems)]
    print(markdown(rows))
    print("\n".join(f"- {of(results[gold])}: `{shlex.join(call)}`" for gold, call in commands.items()))
    where = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "commit": commit()}
    print(f"\nMeasured on {where['machine']}, at commit {where['commit']}.")
    print(json.dumps({**where, "limit": arguments.limit, "rows": rows}))


def command(column: Column, systems: list[str], limit: int | None) -> list[str]:
    """Return the call that measures the systems on this column's gold standard."""
    named = ",".join(with_scheme(system, column) for system in systems)
    limited = ["--limit", str(limit)] if limit else []
    measured = ["clinical", "evaluate", "ner", "--gold", column.gold, "--systems", named]
    return [*measured, *column.options, *limited]


def with_scheme(system: str, column: Column) -> str:
    """Return the system with the guideline it follows: `light@bc5cdr`. A language model has none: it is told labels."""
    name, colon, model = system.partition(":")
    scheme = {"light": column.light, "scispacy": column.scispacy}.get(name)
    return f"{name}@{scheme}{colon}{model}" if scheme else system


def evaluate(call: list[str]) -> dict[str, Any]:
    """Return what the command says of its gold standard; ends the script when it fails."""
    print(shlex.join(call), file=sys.stderr)
    run = [sys.executable, "-m", *call, "--format", "json"]
    done = subprocess.run(run, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)[0]
    return result


def of(result: dict[str, Any]) -> str:
    """Return what a column measures: `bc5cdr:test (Disease, Medication)`."""
    labels = result["labels"]
    return f"{result['gold']} ({', '.join(labels) if len(labels) < 6 else f'{len(labels)} labels'})"


def row(place: int, system: str, results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of one system: strict F1 by gold standard, speed over all of them, size."""
    measured = {gold: result["systems"][place] for gold, result in results.items()}
    return {
        "system": system,
        "strict_f1": {gold: one["strict"]["f1"] for gold, one in measured.items()},
        "interval": {gold: one["strict"]["f1_interval"] for gold, one in measured.items()},
        "words_per_second": speed(results, measured, "words_per_second"),
        "words_per_cpu_second": speed(results, measured, "words_per_cpu_second"),
        "megabytes": megabytes(system, sorted({one["model"] for one in measured.values()})),
    }


def speed(results: dict[str, dict[str, Any]], measured: dict[str, dict[str, Any]], key: str) -> int:
    """Return all words by all the seconds that they took."""
    words = {gold: result["words"] for gold, result in results.items()}
    seconds = sum(words[gold] / one[key] for gold, one in measured.items() if one[key])
    return round(sum(words.values()) / seconds) if seconds else 0


def megabytes(system: str, models: list[str]) -> float | None:
    """Return the size of the weights that one run reads, the largest where schemes have their own."""
    found = [folder for model in models if (folder := weights(model))]
    if not found:
        return None
    encoder = encoder_bytes() if system.partition(":")[0] == "light" else 0
    return round((max(map(size, found)) + encoder) / 1e6, 1)


def weights(model: str) -> Path | None:
    """Return the folder of a model by the name that is printed with results, or `None` if it has none."""
    name = model.split()[0].partition("@")[0]
    shipped = Path(str(resources.files("clinical.models"))) / "weights" / name
    return next((folder for folder in (shipped, Path(name)) if folder.is_dir()), None)


def encoder_bytes() -> int:
    """Return the size of the encoder under the light system's adapters, a package of its own."""
    from clinical.models import minilm

    return (minilm.folder() / "model.safetensors").stat().st_size


def size(folder: Path) -> int:
    """Return the bytes of all files in the folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table: F1 in percent, with its 95% interval."""
    golds = [column.gold for column in COLUMNS]
    lines = [
        f"| system | {' | '.join(gold.replace(':', ' ') for gold in golds)} | words/s | words/CPU s | MB |",
        "|---" + "|---:" * (len(golds) + 3) + "|",
    ]
    for figures in rows:
        cells = [cell(figures["strict_f1"][gold], figures["interval"][gold]) for gold in golds]
        weight = "-" if figures["megabytes"] is None else f"{figures['megabytes']:.1f}"
        cells += [f"{figures[key]:,}" for key in ("words_per_second", "words_per_cpu_second")]
        lines.append(f"| {figures['system']} | {' | '.join(cells)} | {weight} |")
    return "\n".join(lines) + "\n"


def cell(f1: float, interval: list[float]) -> str:
    """Return F1 in percent with its interval, as `84.3 (83.5-85.0)`."""
    low, high = interval
    return f"{100 * f1:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def commit() -> str:
    """Return the short hash of the checkout, with a plus sign when files were changed since."""
    root = Path(__file__).resolve().parent
    asked = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
