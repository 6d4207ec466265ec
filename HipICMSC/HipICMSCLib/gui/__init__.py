"""Slicer's side, the only part that touches qt or slicer.

May import every room but cli; inside it panels → running → scene → setup, each those after it alone.
"""
