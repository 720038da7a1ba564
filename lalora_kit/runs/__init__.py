"""Runs: a run as its directory and its readers see it: forecast, presets, checkpoint, adapter file, statement, report.

Imports the algorithm and all below it. Read `checkpoint` first: it says which files a run leaves, and in which order.
"""
