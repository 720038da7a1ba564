"""Figures: records and results in, a plotly figure out; a figure never trains.

Imports base to federated, runs, lessons, auditing, trial, for the types of what it draws. Read `common` first: one look
for all; a new figure is a file beside it, and nothing is registered.
"""
