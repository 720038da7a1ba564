"""Figures of lessons 10 and 11: what averaging leaves of noise, and what an update reaches for its noise.

Imports what figures do. Read `averages` first.
"""
