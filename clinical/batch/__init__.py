"""Whole folders: runners, manifest, resume."""
