"""Slicer's side, the only part that touches qt or slicer.

May import every room but cli and HipICMSCLib.gui; inside it panels → running | scene.
"""
