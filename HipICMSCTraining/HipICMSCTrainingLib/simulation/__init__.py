"""MRI simulated from CT and its labels, slab by slab.

May import settings, phantom, networks and HipICMSCLib.
"""
