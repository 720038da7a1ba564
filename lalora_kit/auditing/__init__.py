"""Auditing: an attack on a method's own loop that bounds ε from below.

Imports base to federated, runs, lessons. Read `attack` first, then `canaries`, `bounds` and `reach`.
"""
