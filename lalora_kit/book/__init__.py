"""Book: the notebooks run headlessly, their pages, handouts and reports.

Imports base to federated, runs, lessons, auditing, trial, figures, panels. Read `notebooks` first, then `execute`.
"""
