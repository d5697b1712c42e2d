"""Prompt templates and label definitions, as data. Imported as `clinical.prompts`."""
