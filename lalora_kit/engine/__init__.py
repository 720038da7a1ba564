"""Engine: gradients per sample for all clients at once, from one ordinary forward and backward pass.

Imports `base`, `settings` and `tasks`. Read `persample` first, then `adapters`: the tensors that it differentiates.
"""
