"""A real sentence transformer, by its hash: the optional extra `real` brings it along, and nothing is downloaded.

Imports what `tasks` may. Read `teacher`.
"""
