"""What lesson 09 rests on: a federation in one process beside its simulator, a replay, and what an upload holds.

Imports what lessons do. Read `across` first; `travel` weighs what leaves a site.
"""
