"""One volume in: which files are one volume, what its header says, its voxels.

May import networks (how much memory is free), preprocessing, measures, anatomy and common.
"""
