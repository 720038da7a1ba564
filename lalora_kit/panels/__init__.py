"""Panels: live training and the widgets around it, for the notebooks.

Imports base to federated, runs, lessons, auditing, trial, figures. Read `live` first: the state without widgets.
"""
