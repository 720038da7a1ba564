"""Panels: live training and the widgets around it.

Imports `figures` and all below it; only notebooks import a panel. Read `live` first: state without widgets.
"""
