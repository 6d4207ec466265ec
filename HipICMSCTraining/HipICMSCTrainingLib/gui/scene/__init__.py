"""Scene to data set, charts and previews in Slicer's views.

May import all below gui; not running.
"""
