"""What is written down: segmentation file, overlay, report, provenance, places to review, research use.

May import the engine, models, reading and all below them.
"""
