"""Lessons: what the notebooks measure (coupling, amplification, sharpness), and what a lesson needs beside.

Imports base to federated, and runs. Read `coupling` first; `lesson` holds modes, predictions and results.
"""
