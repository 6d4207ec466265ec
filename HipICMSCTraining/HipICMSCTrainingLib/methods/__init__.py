"""One file a method of the paper's Table 1, their losses and what they share.

May import data, simulation, settings, phantom, networks and HipICMSCLib.
"""
