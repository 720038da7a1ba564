"""Figures of the gallery: accuracy against what is sent, noise after averaging, reach of an update for its noise.

Imports what figures do. Read `averages` first.
"""
