"""`python -m qdkit` is the command `qdkit`."""

from qdkit.cli.commands import main

main()
