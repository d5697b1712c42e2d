"""Sentences as a prompt shows them to a model that names them by number."""

from __future__ import annotations

from collections.abc import Iterable


def numbered(sentences: Iterable[str]) -> str:
    """Return the sentences, each on a line of its own behind its number, counted from 1.

    >>> numbered(["Fever.", "No\\ncough."])
    '[1] Fever.\\n[2] No cough.'
    """
    return "\n".join(f"[{number}] {' '.join(text.split())}" for number, text in enumerate(sentences, 1))
