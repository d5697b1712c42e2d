"""`python -m clinical` is the same as the command `clinical`."""

from clinical.cli import main

main()
