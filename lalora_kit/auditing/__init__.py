"""Auditing: an attack on a method's own loop that bounds ε from below.

Imports the algorithm and all below it. Read `attack` first, then `canaries` and `bounds`.
"""
