"""Segments, femoral heads and bones: components, sides, plausibility.

May import common.
"""
