"""Base: checks of one value, files that survive a crash, threads, what this machine has. Every folder may use it.

Imports nothing of the package. Read `checks` first: the sentence with which bad input is refused is made there.
"""
