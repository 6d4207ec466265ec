"""The client of the worker, its jobs, and the tick that keeps them going.

May import scene, setup and all below gui.
"""
