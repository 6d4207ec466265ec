"""A training and the folder with everything in it: trainer, checkpoint, alarms, previews, curves, estimate, export.

May import methods, data, simulation, settings, phantom, networks and HipICMSCLib.
"""
