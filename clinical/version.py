"""The version, in one place: read by `setup.cfg`, printed by `clinical --version`."""

__version__ = "0.1.0"
