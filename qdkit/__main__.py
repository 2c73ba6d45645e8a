"""`python -m qdkit` is the command `qdkit`."""

from qdkit.cli import main

main()
