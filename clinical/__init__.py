"""Find, search and summarize what clinical notes say, on the user's own machine.

The tasks live in `clinical.tasks`; the command line in `clinical.cli`. Importing this package is free of
side effects and of heavy libraries.
"""

from clinical.version import __version__

__all__ = ["__version__"]
