"""What lessons 10 and 11 measure of the gallery: who averages what, and how far an update reaches for its noise.

Imports what lessons do. Read `averages` first.
"""
