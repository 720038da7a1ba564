"""Book: the notebooks run headlessly, their pages, handouts and reports.

Imports `figures`, `lessons`, `trial` and all below them. Read `notebooks` first, then `execute`: one notebook, run.
"""
