"""The Python that computes: which one, its environment, installing what it lacks, its processes, reload.

May import all below gui.
"""
