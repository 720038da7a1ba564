"""Trial: the paper's claims, and comparisons, by a rule written before the runs; finished ones lie in `kept`.

Imports base to federated, runs, lessons, auditing. Read `verdicts` first: the rule; `claims` is the table it judges.
"""
