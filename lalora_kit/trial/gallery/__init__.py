"""The gallery's trial: every method and the baselines at four ε, and what each of them sends.

Imports what trial does. Read `design` first; `runs` makes them, `table` counts them, `said` tells them.
"""
