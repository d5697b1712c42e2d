"""Inline tags: a text with `<Label>…</Label>` around its mentions, as the models of `ner` write it.

The blank before a mention stands inside the tag ("has<Disease> fever</Disease>"), because models see a word
and the blank before it as one token, and a tag must not change the tokens of the text.
"""

from __future__ import annotations

from collections.abc import Iterable

from clinical.errors import UsageError

FORBIDDEN = frozenset("<>\n\r\t")


def open_tag(label: str) -> str:
    """Return `<Label>`."""
    return f"<{label}>"


def close_tag(label: str) -> str:
    """Return `</Label>`."""
    return f"</{label}>"


def check_label(label: str) -> None:
    """Raise `UsageError` when a tag could not carry this name."""
    if not label.strip() or label != label.strip() or label.startswith("/") or FORBIDDEN & set(label):
        raise UsageError(f"label {label!r} cannot be a tag: no < or >, no line break, no blank or / in front")


def write_tags(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """Return the text with tags around the spans `(start, end, label)`, which must not overlap.

    >>> write_tags("Has fever.", [(4, 9, "Symptom")])
    'Has<Symptom> fever</Symptom>.'
    """
    out: list[str] = []
    done = 0
    for start, end, label in sorted(spans):
        if start < done or end <= start:
            raise ValueError(f"spans overlap or are empty at {start}")
        if start > done and text[start - 1] == " ":
            start -= 1
        out += [text[done:start], open_tag(label), text[start:end], close_tag(label)]
        done = end
    return "".join([*out, text[done:]])
