"""Settings of a training, presets and what a panel offers to choose.

May import HipICMSCLib alone.
"""
