"""Trial: the paper's claims and comparisons by a rule that was written before the runs, and the finished runs (`kept`).

Imports the algorithm, `lessons` and all below them. Read `verdicts` first: the rule; `claims` is the table it judges.
"""
