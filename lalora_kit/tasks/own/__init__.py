"""Somebody's own data: a folder of images or a CSV file, read to the last row or refused with every instance named.

Imports `tasks`. Read `load` first; `table` and `rows` say what is refused.
"""
