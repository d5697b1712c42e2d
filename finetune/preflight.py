"""What is looked at before any weight is read: rows, lengths, ends, templates, overlap.

Every finding is one line that names the thing. `faults` forbid the training, `warnings` do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clinical.errors import UsageError
from clinical.finetune.preparation import Prepared
from clinical.finetune.recipe import Recipe
from clinical.models.chat import ChatFormat
from clinical.models.text_tokens import TextTokens

SHOWN = 5


@dataclass
class Report:
    """The findings, and the lengths of the rows in tokens, sorted."""

    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    tasks: Counter[str] = field(default_factory=Counter)
    learned_tokens: int = 0
    tokens: int = 0

    def quantile(self, share: float) -> int:
        """Return the length that this share of the rows does not exceed."""
        return self.lengths[min(len(self.lengths) - 1, int(share * len(self.lengths)))] if self.lengths else 0

    def check(self) -> None:
        """Raise `UsageError` with all faults when there are any."""
        if self.faults:
            count = len(self.faults)
            head = "the data have a fault" if count == 1 else f"the data have {count} faults"
            raise UsageError(
                f"{head}; nothing was trained:\n" + "\n".join(f"  {fault}" for fault in self.faults)
            )


def look(recipe: Recipe, prepared: Prepared, tokenizer: Any, chat: ChatFormat) -> Report:
    """Return what there is to say of the rows of a recipe."""
    report = Report()
    _sources(prepared, report)
    _lengths(recipe, prepared, report)
    _ends(prepared, tokenizer, chat, report)
    _sets(recipe, prepared, report)
    return report


def _sources(prepared: Prepared, report: Report) -> None:
    faults = _folded(prepared.faults)
    report.faults += faults[: 4 * SHOWN]
    if len(faults) > 4 * SHOWN:
        report.faults.append(f"and {len(faults) - 4 * SHOWN} more kinds of faults")
    report.warnings += [f"{count} {reason}" for reason, count in prepared.passed_over.items() if count]
    if prepared.unwritable:
        report.warnings.append(f"{prepared.unwritable} answers cannot be written with tags and are left out")
    if not prepared.rows and not faults:
        report.faults.append("the sources hold no row")


def _folded(faults: Sequence[str]) -> list[str]:
    """Return the faults with those of the same reason in one line: a wrong column map has one for every row."""
    places: dict[str, list[str]] = {}
    for fault in faults:
        place, _, reason = fault.partition(": ")
        places.setdefault(reason, []).append(place)
    return [
        f"{at[0]}{f' and {len(at) - 1} more' if len(at) > 1 else ''}: {reason}"
        for reason, at in places.items()
    ]


def _lengths(recipe: Recipe, prepared: Prepared, report: Report) -> None:
    report.lengths = sorted(len(row.ids) for row in prepared.rows)
    report.tasks = Counter(str(row.task) for row in prepared.rows)
    report.tokens = sum(len(prepared.rows[number].ids) for number in prepared.order)
    report.learned_tokens = sum(prepared.rows[number].learned_count for number in prepared.order)
    if not prepared.long:
        return
    named = ", ".join(f"{place} ({length})" for place, length in prepared.long[:SHOWN])
    more = f" and {len(prepared.long) - SHOWN} more" if len(prepared.long) > SHOWN else ""
    longest = max(length for _, length in prepared.long)
    what = f"{len(prepared.long)} rows are longer than max_length {recipe.max_length}: {named}{more}"
    if prepared.dropped:
        what += f"; {prepared.dropped} of them would hold nothing to learn"
    if len(prepared.long) > recipe.allow_truncated:
        report.faults.append(
            f"{what}; set max_length={longest} (more memory), or allow_truncated={len(prepared.long)} to cut off "
            "their ends"
        )
    else:
        report.warnings.append(f"{what}; their ends are cut off, as allow_truncated permits")


def _ends(prepared: Prepared, tokenizer: Any, chat: ChatFormat, report: Report) -> None:
    """Check that an answer ends with the end token, and that it is learned: else a model never stops."""
    tokens = TextTokens(tokenizer, chat)
    end, begin = tokens.control("</s>"), tokens.control("<s>")
    if end is None or end == tokenizer.unk_token_id:
        report.faults.append("the tokenizer has no end token; a model trained with it would never stop")
        return
    cut = {place for place, _ in prepared.long}
    whole = [row for row in prepared.rows if row.place not in cut]
    without = [row for row in whole if row.ids[-1] != end or row.learned[-1][1] != len(row.ids)]
    if without:
        report.faults.append(f"{len(without)} rows do not learn the end token, the first {without[0].place}")
    twice = [row for row in prepared.rows if row.ids[:2] == [begin, begin]]
    if twice:
        report.faults.append(f"{len(twice)} rows begin twice, the first {twice[0].place}")
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id == end:
        report.warnings.append(
            "the base pads with its end token; padding is told apart by its place, not by its id"
        )


def _sets(recipe: Recipe, prepared: Prepared, report: Report) -> None:
    if prepared.duplicates:
        report.warnings.append(
            f"{prepared.duplicates} rows are the same as others, and are trained on as often as they stand there"
        )
    if prepared.overlapping:
        report.warnings.append(
            f"{prepared.overlapping} held-out rows also stand in the training data and are left out of the evaluation"
        )
    if not (prepared.dev or prepared.gold):
        report.warnings.append(
            "nothing is held out: the best checkpoint cannot be told (set hold_out=0.05, or dev)"
        )
