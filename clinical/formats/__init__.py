"""Output formats: how results are written for people and for programs."""
