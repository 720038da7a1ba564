"""The embedded tasks' pretrained backbones, the scripts that make them, and a record of each making.

Imports what `tasks` may. Read `pretrain` first; beside each file of weights lies a record that says how it was made.
"""
