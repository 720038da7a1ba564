"""Runs: the directory that a run leaves, and what is told from it: presets, forecast, statement, results, baselines.

Imports base to federated (README.md has the order). Read `checkpoint` first: which files a run writes (`statefile`: one
state; `adapterfile`: PEFT's format); `saved` reads them back, `spent` adds up their ledgers' ε.
"""
