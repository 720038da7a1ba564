"""Base: what every room may stand on: checks of one value, files that survive a crash, the network, this machine.

Imports nothing of the package. Read `checks` first: its sentences are how the kit refuses.
"""
