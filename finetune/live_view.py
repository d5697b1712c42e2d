"""What is seen of a training run: a live panel on a terminal, one line for each record elsewhere.

step  120 of 900   loss 0.412   1,830 tokens/s   3.1 GB   12 min left
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from clinical.finetune.report import duration

if TYPE_CHECKING:
    from rich.live import Live
    from rich.panel import Panel
    from rich.text import Text

    from clinical.finetune.training import Watch

BARS = "▁▂▃▄▅▆▇█"
KEPT = ("step", "steps", "seconds", "eval_loss", "score")


def sparkline(values: list[float], width: int = 48) -> str:
    """Return the values as a row of bars, the lowest the smallest; of many the mean of neighbours.

    >>> sparkline([1.0, 2.0, 3.0], 3)
    '▁▅█'
    """
    if not values:
        return ""
    size = max(1, -(-len(values) // width))
    means = [sum(values[at : at + size]) / len(values[at : at + size]) for at in range(0, len(values), size)]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1))] for value in means)


def time_left(record: dict[str, Any], first: dict[str, Any] | None) -> float | None:
    """Return the seconds that are left, from the steps since the first record; `None` with one record alone."""
    if first is None or record["step"] <= first["step"]:
        return None
    pace = (record["seconds"] - first["seconds"]) / (record["step"] - first["step"])
    return float(pace * (record["steps"] - record["step"]))


def line(record: dict[str, Any], first: dict[str, Any] | None) -> str:
    """Return a record as one line of text."""
    if "loss" not in record:
        scores = [f"{name.replace('_', ' ')} {value:g}" for name, value in record.items() if name not in KEPT]
        shown = [f"held-out loss {record['eval_loss']:.4f}", *scores]
        return f"step {record['step']:>5}   " + "   ".join(shown)
    left = time_left(record, first)
    parts = [
        f"step {record['step']:>5} of {record['steps']}",
        f"loss {record['loss']:.4f}",
        f"{record['tokens_per_second']:,.0f} tokens/s",
        f"{record['memory_mb'] / 1000:.1f} GB",
        *([f"{duration(left)} left"] if left is not None else []),
    ]
    return "   ".join(parts)


def _bar(share: float, width: int = 64) -> Text:
    from rich.text import Text

    full = round(share * width)
    return Text.assemble(("━" * full, "green"), ("━" * (width - full), "dim"))


class View:
    """Shows the records of a run as they come."""

    def __init__(self, title: str, stream: IO[str] | None = None) -> None:
        self.title = title
        self.stream = stream or sys.stderr
        self.losses: list[float] = []
        self.scores: list[str] = []
        self.first: dict[str, Any] | None = None
        self.latest: dict[str, Any] | None = None
        self._live: Live | None = None

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """Give the function that a run tells its records; the panel is there while this lasts."""
        if not self.stream.isatty():
            yield self._print
            return
        from rich.console import Console
        from rich.live import Live

        with Live(self._panel(), console=Console(file=self.stream), refresh_per_second=4) as live:
            self._live = live
            yield self._show

    def _print(self, record: dict[str, Any]) -> None:
        print(line(record, self.first), file=self.stream, flush=True)
        self._take(record)

    def _show(self, record: dict[str, Any]) -> None:
        self._take(record)
        assert self._live is not None
        self._live.update(self._panel())

    def _take(self, record: dict[str, Any]) -> None:
        if "loss" in record:
            self.losses.append(record["loss"])
            self.first = self.first or record
            self.latest = record
        else:
            self.scores.append(line(record, None))

    def _panel(self) -> Panel:
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        if self.latest is None:
            parts: list[Any] = [Text(text, style="dim") for text in self.scores] or [
                Text("loading, and scoring what is there before training …", style="dim")
            ]
        else:
            parts = [
                Text(line(self.latest, self.first)),
                _bar(self.latest["step"] / self.latest["steps"]),
                Text(f"loss {sparkline(self.losses)}", style="cyan"),
                *[Text(text, style="dim") for text in self.scores[-4:]],
            ]
        return Panel(Group(*parts), title=self.title, title_align="left", width=96)
