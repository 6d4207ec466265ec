"""Volumes → checked cases → cached slices → unpaired batches; which process has which of them.

May import simulation, settings, phantom, networks and HipICMSCLib.
"""
