"""Pictures: what a lesson opens on, drawn from the numbers of a run; they move without a kernel, and print in grey.

Imports what figures has. Read `frame` first: an SVG with its words for who cannot see it, and a table; a picture is a
file beside it, named after what it shows.
"""
