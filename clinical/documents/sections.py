"""Sections of a note (being written)."""
