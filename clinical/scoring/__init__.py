"""Scores: span-level precision, recall and F1, and their confidence intervals."""
