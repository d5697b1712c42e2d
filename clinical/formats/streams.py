"""Streams to write to: the bytes of a result arrive unchanged, whatever the stream is."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, cast


def binary_sink(stream: IO[str] | IO[bytes]) -> Callable[[bytes], object]:
    """Return a function that writes UTF-8 bytes to the stream.

    A text stream over a binary one is written below its encoding and newline translation, except a terminal,
    which has to encode for itself.
    """
    if not isinstance(stream, io.TextIOBase):
        return cast(IO[bytes], stream).write
    text: io.TextIOBase = stream
    below = getattr(text, "buffer", None)
    if below is None or text.isatty():
        return lambda data: text.write(data.decode("utf-8"))
    text.flush()
    return cast(IO[bytes], below).write


def encode(text: str) -> bytes:
    """Return the text in UTF-8; half a surrogate pair becomes "?", so that no offset moves."""
    return text.encode("utf-8", "replace")
