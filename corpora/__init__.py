"""Corpora: what they are, where they lie, how their labels map to ours. Imported as `clinical.corpora`."""
