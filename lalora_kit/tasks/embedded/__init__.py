"""Embedded tasks: real data that ship with the kit or with its packages; nothing is downloaded.

Imports what `tasks` may. Read `digits` first; the pretrained weights lie in `tasks.assets`.
"""
