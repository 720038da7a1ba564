"""Figures of lesson 09: one run in one place and over sites, what travels, what a cheat reads, who holds which ε.

Imports what figures do. Read `across` first; `picture` draws who holds what, as SVG.
"""
