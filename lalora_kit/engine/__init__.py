"""Engine: gradients per sample for all clients at once, from one ordinary forward and backward pass.

Imports base, settings, tasks. Read `persample` first, then `adapters`: the tensors that it differentiates. `fit`,
`tryout` and `onepass` find out whether a task can be trained so.
"""
