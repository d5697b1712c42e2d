"""Streams to write to: the bytes of the result arrive unchanged, whatever the stream is."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO


def binary_sink(stream: IO[str] | IO[bytes]) -> Callable[[bytes], None]:
    """Return a function that writes UTF-8 bytes to the stream.

    A text stream over a binary one is written below its encoding and newline translation, except a terminal,
    which has to decode for itself.
    """
    if isinstance(stream, io.TextIOBase):
        below = getattr(stream, "buffer", None)
        if below is None or stream.isatty():
            return lambda data: _write_text(stream, data)
        stream.flush()
        return lambda data: _write(below, data)
    return lambda data: _write(stream, data)


def _write(stream: IO[bytes], data: bytes) -> None:
    stream.write(data)


def _write_text(stream: io.TextIOBase, data: bytes) -> None:
    stream.write(data.decode("utf-8"))


def encode(text: str) -> bytes:
    """Return the text in UTF-8; half a surrogate pair, which UTF-8 cannot hold, becomes "?" so that no offset moves."""
    return text.encode("utf-8", "replace")
