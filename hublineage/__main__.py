"""`python -m hublineage` is the command `hublineage`."""

from hublineage.cli import main

main()
