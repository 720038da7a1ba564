"""Panels of one lesson each, which show that lesson's own quantity.

Imports what panels has. Read `features` first: the training panel with one switch more.
"""
