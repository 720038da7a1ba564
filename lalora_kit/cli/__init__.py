"""Command line: one file a group of commands; each parses, calls the library and prints.

Imports every folder, inside the commands, so that `lalora --help` is quick. Read `train` first: `lalora train`; `app`
is the entry point that joins the groups and tells what went wrong.
"""
