"""Heads: public statistics that stand before a head, and heads without a backbone, which an adapter is held against.

Imports base, tasks. Read `standardise` first, then `linear`.
"""
