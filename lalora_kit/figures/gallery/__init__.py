"""Figures of the gallery: what a method reaches, against what it sends.

Imports what figures do. Read `sent` first.
"""
