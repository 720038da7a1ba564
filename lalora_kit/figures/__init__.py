"""Figures: records in, a plotly figure out; nothing here computes, trains or shows.

Imports everything below and no widget. Read `common` first: one look for all; a new figure is a file beside it.
"""
