"""The panel of lesson 09: one run, trained over sites and simulated beside it, at the sliders' settings.

Imports what panels do. Read `across` first.
"""
