"""`python -m lalora_kit` is `lalora`."""

from lalora_kit.cli import main

main()
