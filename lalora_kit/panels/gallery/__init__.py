"""Panels of lessons 10 and 11, which compare the gallery's methods by what they send and noise.

Imports what panels do. Read `averages` first.
"""
