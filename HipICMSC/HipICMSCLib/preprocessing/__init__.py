"""Geometry, intensity and crop: one way for training, inference and evaluation.

May import anatomy and common.
"""
