"""Somebody's own data: a folder of images or a CSV file, read to the last row or refused with every instance named.

Imports what `tasks` may. Read `load` first; `table` reads a CSV file, `rows` refuses what a row may not hold, `folders`
and `metadata` do the same for images, `reader` turns a text or a picture into a backbone's inputs.
"""
