"""The `light` system's tagger (being written)."""

WINDOW_PIECES = 128
