"""Command line: one file a group of commands; each parses, calls the library and prints.

Imports every room, inside the commands, so that `lalora --help` is quick. Read `app` first: `lalora train` and `main`.
"""
