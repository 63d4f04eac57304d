"""`python -m samplerzoo` is the program `samplerzoo`."""

from .cli import main

main()
