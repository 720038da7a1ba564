"""Measurements that are reported, not asserted. Each is one command; see the module's docstring."""
