"""`python -m lalora_kit` is `lalora`."""

from lalora_kit.cli.app import main

main()
