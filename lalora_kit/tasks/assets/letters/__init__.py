"""Task `mnist`'s files: digits, printed characters, and the backbone that read printed letters, with their makers.

Imports what `tasks` may. Read `pretrain` first; `swin_pico_32.json` says how the weights were made.
"""
