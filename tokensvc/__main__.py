"""`python -m tokensvc`."""

from tokensvc.cli import main

main()
