"""Shows training rows as the model will get them: every token with its id, the learned ones coloured.

clinical finetune mini-ner --preview 2
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from clinical.finetune.rows import TrainingRow

LEARNED, GIVEN, ENDS = "\x1b[1;32m", "\x1b[2m", "\x1b[1;33m"
RESET = "\x1b[0m"


def preview(rows: Sequence[TrainingRow], tokenizer: Any, *, colour: bool, width: int = 100) -> Iterator[str]:
    """Yield the lines that show some rows: the text with the learned part marked, then each token with its id."""
    for number, row in enumerate(rows, 1):
        yield from _row(number, row, tokenizer, colour=colour, width=width)


def _row(number: int, row: TrainingRow, tokenizer: Any, *, colour: bool, width: int) -> Iterator[str]:
    yield f"row {number}: {row.task}, {row.place}; {len(row.ids)} tokens, {row.learned_count} learned"
    yield ""
    yield from ("  " + line for line in _text(row, tokenizer, colour=colour).split("\n"))
    yield ""
    yield from _tokens(row, tokenizer, colour=colour, width=width)
    yield ""


def _text(row: TrainingRow, tokenizer: Any, *, colour: bool) -> str:
    """Return the decoded row; without colour the learned stretches stand between «…»."""
    out: list[str] = []
    done = 0
    # Decoded from the beginning each time, since a decoder may drop the blank of what it begins with.
    for start, end in row.learned:
        before, learned = _between(row.ids, done, start, tokenizer), _between(row.ids, start, end, tokenizer)
        out += [_painted(before, GIVEN, colour), _marked(learned, colour)]
        done = end
    out.append(_painted(_between(row.ids, done, len(row.ids), tokenizer), GIVEN, colour))
    return "".join(out)


def _between(ids: Sequence[int], start: int, end: int, tokenizer: Any) -> str:
    whole = str(tokenizer.decode(ids[:end], clean_up_tokenization_spaces=False))
    return whole[len(tokenizer.decode(ids[:start], clean_up_tokenization_spaces=False)) :]


def _marked(text: str, colour: bool) -> str:
    return _painted(text, LEARNED, colour) if colour else f"«{text}»"


def _painted(text: str, code: str, colour: bool) -> str:
    return f"{code}{text}{RESET}" if colour and text else text


def _tokens(row: TrainingRow, tokenizer: Any, *, colour: bool, width: int) -> Iterator[str]:
    """Yield lines of `id token` pairs; learned ones are coloured, or have a star without colour."""
    labels, names = row.labels, tokenizer.convert_ids_to_tokens(row.ids)
    line, size = "  ", 2
    for token, label, name in zip(row.ids, labels, names, strict=True):
        learned = label >= 0
        plain = f"{token} {name}" + ("" if colour or not learned else "*")
        if size + len(plain) + 3 > width:
            yield line.rstrip()
            line, size = "  ", 2
        special = token in tokenizer.all_special_ids
        code = LEARNED if learned else ENDS if special else GIVEN
        line += _painted(plain, code, colour) + "   "
        size += len(plain) + 3
    yield line.rstrip()
