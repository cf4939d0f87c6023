"""`python -m autoresearch` is `autoresearch`."""

from autoresearch.cli import main

main()
