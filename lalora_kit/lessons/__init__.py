"""Lessons: what the notebooks measure (coupling, amplification, sharpness), and what a lesson needs beside.

Imports the algorithm, `runs` and all below them. Read `coupling` first; `lesson` holds modes, predictions and results.
"""
